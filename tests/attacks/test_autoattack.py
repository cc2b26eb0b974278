"""AutoAttack: its stages and their order, the examples that go on, and stages run one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import (
    APGD,
    APGDT,
    FAB,
    FABT,
    AutoAttack,
    Restarts,
    Square,
    WorstOf,
    at_eps,
    autoattack,
    threat_of,
)
from robustlab.attacks.suite import Version
from robustlab.core import L1, L2, Attack, Linf, Model, Stop, ThreatModel, as_twin, dlr

LINF = ThreatModel(Linf(), 0.05)


@dataclass(frozen=True)
class Spy:
    """An attack that notes whom it is run on, and fools the examples of these ids by replacing them with zeros."""

    fools: tuple[int, ...]
    calls: list[tuple[list[int], int]]
    threat: ThreatModel = LINF

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        del model, y, target, stop
        assert ids is not None
        self.calls.append((ids.tolist(), seed))
        chosen = torch.isin(ids, torch.tensor(self.fools))
        return torch.where(chosen.reshape(-1, *[1] * (x.ndim - 1)), 0.0, x)


class Bright(nn.Module):
    """Class 1 where the mean is above a half."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        return torch.stack([0.5 - mean, mean - 0.5], dim=1)


def curved(classes: int, *shape: int) -> nn.Module:
    values = int(torch.tensor(shape).prod())
    model = nn.Sequential(nn.Flatten(), nn.Linear(values, 24), nn.Tanh(), nn.Linear(24, classes)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def small(threat: ThreatModel) -> AutoAttack:
    attacks = (APGD(threat, 4), APGDT(threat, 3, 2), FABT(threat, 3, 2), Square(threat, 10))
    return AutoAttack(("apgd-ce", "apgd-t", "fab-t", "square"), attacks)


@pytest.mark.parametrize("threat", [LINF, ThreatModel(L2(), 0.5)], ids=repr)
def test_the_standard_version_is_the_published_one(threat: ThreatModel) -> None:
    assert autoattack(threat).stages == (
        ("apgd-ce", APGD(threat, 100, rho=0.75)),
        ("apgd-t", APGDT(threat, 100, 9, rho=0.75)),
        ("fab-t", FABT(threat, 100, 9, alpha_max=0.1, overshoot=1.05, backward=0.9)),
        ("square", Square(threat, 5000, 0.8, rescaled=False)),
    )
    assert autoattack(threat, "quick").stages == autoattack(threat).stages[:2]


def test_the_standard_version_in_l1_and_the_plus_version() -> None:
    one = ThreatModel(L1(), 12.0)
    narrowing = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
    standard = dict(autoattack(one).stages)
    assert standard["apgd-ce"] in (Restarts(APGD(one), 5), Restarts(APGD(one, phases=narrowing), 5))
    assert standard["apgd-t"] == APGDT(one, targets=5)
    assert standard["fab-t"] == FABT(one, targets=9)
    plus = autoattack(LINF, "plus")
    assert plus.names == ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t")
    stages = dict(plus.stages)
    assert stages["apgd-dlr"] == Restarts(APGD(LINF, score=dlr, phases=((1.0, 1.0),)), 5)
    assert stages["fab"] == WorstOf((FAB(LINF), Restarts(FAB(LINF, random_start=True), 4)))


def test_only_robust_examples_go_on_and_misclassified_ones_are_not_attacked() -> None:
    x, ids = torch.full((6, 1, 2, 2), 0.8), torch.tensor([3, 10, 4, 8, 20, 6])
    y = torch.tensor([1, 1, 0, 1, 1, 1])
    calls: list[tuple[list[int], int]] = []
    spies: tuple[Attack, ...] = (Spy((10, 6), calls), Spy((8,), calls), Spy((3,), calls))
    suite = AutoAttack(("a", "b", "c"), spies)
    x_adv = suite(Bright(), x, y, seed=9, ids=ids)
    assert [who for who, _ in calls] == [[3, 10, 8, 20, 6], [3, 8, 20], [3, 20]]
    assert [seed for _, seed in calls] == [suite.seed_of(stage, 9) for stage in range(3)]
    assert calls[0][1] == 9
    assert len({seed for _, seed in calls}) == 3
    assert torch.equal((x_adv == 0).flatten(1).all(1), torch.tensor([True, True, False, True, False, True]))
    assert torch.equal(x_adv[[2, 4]], x[[2, 4]])


def test_full_strength_runs_every_stage_on_all() -> None:
    calls: list[tuple[list[int], int]] = []
    suite = AutoAttack(("a", "b"), (Spy((0, 1), calls), Spy((), calls)))
    suite(Bright(), torch.full((2, 3), 0.8), torch.tensor([1, 0]), stop="never")
    assert [who for who, _ in calls] == [[0, 1], [0, 1]]


def test_stages_run_one_by_one_give_the_same_answer() -> None:
    model = curved(10, 1, 3, 4)
    x = torch.rand(30, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    suite, ids = small(LINF), torch.arange(30) * 7
    whole = suite(model, x, y, seed=4, ids=ids)
    by_hand, rows = x.clone(), torch.arange(30)
    counts = []
    for number, (_, attack) in enumerate(suite.stages):
        found = attack(model, x[rows], y[rows], seed=suite.seed_of(number, 4), ids=ids[rows])
        wrong = model(found).argmax(1) != y[rows]
        by_hand[rows[wrong]] = found[wrong]
        rows = rows[~wrong]
        counts.append(int(wrong.sum()))
    fooled = model(whole).argmax(1) != y
    assert 3 < int(fooled.sum()) == sum(counts) < 30
    assert torch.equal(whole[fooled], by_hand[fooled])


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=str)
@pytest.mark.parametrize(("classes", "shape"), [(2, (1, 5, 7)), (3, (2, 6)), (5, (9,))])
def test_any_number_of_classes_and_any_shape(norm: Linf | L2 | L1, classes: int, shape: tuple[int, ...]) -> None:
    model = curved(classes, *shape)
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    threat = ThreatModel(norm, {"Linf": 0.3, "L2": 1.5, "L1": 4.0}[str(norm)])
    x_adv = small(threat)(model, x, y)
    assert threat.contains(x, x_adv).all()
    assert (model(x_adv).argmax(1) != y).any()


def test_a_budget_per_example_is_followed_through_the_stages() -> None:
    model = curved(4, 6)
    x = torch.rand(5, 6, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    threat = ThreatModel(Linf(), (0.0, 0.01, 0.3, 0.0, 0.2))
    x_adv = small(threat)(model, x, y)
    assert threat.contains(x, x_adv).all()
    assert torch.equal(x_adv[[0, 3]], x[[0, 3]])


def test_the_budget_can_be_changed_from_outside() -> None:
    wider = at_eps(autoattack(LINF), 0.1)
    assert wider == autoattack(replace(LINF, eps=0.1))
    assert threat_of(wider) == ThreatModel(Linf(), 0.1)


def test_a_suite_on_what_is_all_wrong_costs_one_pass() -> None:
    twin = as_twin(Bright())
    x = torch.full((4, 3), 0.2)
    assert torch.equal(autoattack(LINF)(twin, x, torch.ones(4, dtype=torch.int64)), x)
    assert twin.passes.forward == 4


@pytest.mark.parametrize(("names", "attacks"), [((), ()), (("a",), (APGD(LINF), FAB(LINF)))])
def test_names_and_attacks_that_do_not_match_are_refused(names: tuple[str, ...], attacks: tuple[Attack, ...]) -> None:
    with pytest.raises(ValueError, match="a suite needs a name for each of its attacks"):
        AutoAttack(names, attacks)


def test_an_unknown_version_is_refused() -> None:
    version: Version = "fast"  # type: ignore[assignment] # that is the fault
    with pytest.raises(ValueError, match="version must be one of standard, plus, rand, quick, got 'fast'"):
        autoattack(LINF, version)
