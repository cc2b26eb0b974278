"""Models that answer only some of their classes, as with the 200 of ImageNet-A: a masked class is never a target."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.attacks.test_published_faults import impatient, labelled, network
from torch import Tensor, nn

from robustlab.attacks import APGD, APGDT, FAB, FABT, PGD, Square, Targeted, VirtualAdversarial, autoattack, trace
from robustlab.attacks.suite import Version
from robustlab.attacks.wrappers import TargetRule
from robustlab.core import L1, L2, Attack, Linf, Norm, ThreatModel, dlr, margin
from robustlab.regularization import target_labels

NORMS: list[Norm] = [Linf(), L2(), L1()]
EPS = {"Linf": 0.3, "L2": 1.0, "L1": 3.0}
PLACES = {2: [3, 8], 3: [1, 3, 8], 5: [0, 3, 5, 8, 9]}
MASKS = pytest.mark.parametrize("mask", [-torch.inf, torch.finfo(torch.float32).min, -1e9], ids=str)


def masked(few: nn.Module, places: list[int], mask: float = -torch.inf) -> Callable[[Tensor], Tensor]:
    """Ten classes of which only these are answered."""

    def model(x: Tensor) -> Tensor:
        z = few(x)
        return torch.full((len(x), 10), mask, dtype=z.dtype).index_copy(1, torch.tensor(places), z)

    return model


@pytest.mark.slow
@pytest.mark.parametrize("count", PLACES)
@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("version", ["standard", "plus", "rand"])
def test_suites_break_a_masked_model_like_the_model_of_its_classes(version: Version, norm: Norm, count: int) -> None:
    few, places = network(count, 12), PLACES[count]
    x, y = labelled(few, 12, 12)
    suite = impatient(autoattack(ThreatModel(norm, EPS[str(norm)]), version))
    model, ten = masked(few, places), torch.tensor(places)[y]
    fooled = (model(suite(model, x, ten)).argmax(1) != ten).sum()
    assert abs(int(fooled) - int((few(suite(few, x, y)).argmax(1) != y).sum())) <= 1
    assert fooled >= 3


@pytest.mark.slow
@MASKS
def test_every_objective_climbs_on_a_masked_model(mask: float) -> None:
    few = network(2, 12)
    x, y = labelled(few, 40, 12)
    model, ten, threat = masked(few, PLACES[2], mask), torch.tensor(PLACES[2])[y], ThreatModel(Linf(), 0.2)
    attacks: list[Attack] = [
        PGD(threat, 10), PGD(threat, 10, score=margin), PGD(threat, 10, score=dlr), APGD(threat, 10, score=dlr),
        APGDT(threat, 10), FAB(threat, 10), FABT(threat, 10), Square(threat, 100),
    ]  # fmt: skip
    for attack in attacks:
        alone = int((few(attack(few, x, y)).argmax(1) != y).sum())
        assert abs(int((model(attack(model, x, ten)).argmax(1) != ten).sum()) - alone) <= 2, attack


@pytest.mark.parametrize("kind", [APGDT, FABT])
@pytest.mark.parametrize("count", PLACES)
def test_no_target_is_a_masked_class(kind: type[APGDT] | type[FABT], count: int) -> None:
    few, places = network(count, 12), PLACES[count]
    x, y = labelled(few, 6, 12)
    seen = trace(kind(ThreatModel(Linf(), 1e-4), steps=2), masked(few, places), x, torch.tensor(places)[y])
    tried = {row.target for row in seen.rows}
    assert tried <= set(places)
    assert len(tried) >= count - 1


@pytest.mark.parametrize("kind", [APGDT, FABT])
@pytest.mark.parametrize("stop", ["success", "never"])
def test_examples_with_fewer_classes_than_others_are_attacked_as_if_alone(kind: type[APGDT], stop: str) -> None:
    few = network(5, 12)
    x, y = labelled(few, 8, 12)

    def model(x: Tensor) -> Tensor:
        """The more the first value, the more classes."""
        z: Tensor = few(x)
        rank = z.argsort(1, descending=True).argsort(1)
        return z.masked_fill(rank > (x[:, :1] * 5).long(), -torch.inf)

    attack, ids = kind(ThreatModel(Linf(), 0.02), 4), torch.arange(8)
    how = "success" if stop == "success" else "never"
    in_batch = attack(model, x, y, stop=how, ids=ids)  # type: ignore[arg-type] # one of two
    for i in range(8):
        one = slice(i, i + 1)
        alone = attack(model, x[one], y[one], stop=how, ids=ids[one])  # type: ignore[arg-type] # one of two
        assert torch.allclose(in_batch[one], alone, atol=1e-6)


def test_where_only_the_true_class_is_answered_there_is_nothing_to_go_for() -> None:
    few = network(2, 12)
    x, _ = labelled(few, 4, 12)

    def model(x: Tensor) -> Tensor:
        z = few(x)
        return torch.stack([z[:, 0], *[torch.full_like(z[:, 0], -torch.inf)] * 3], dim=1)

    y, threat = torch.zeros(4, dtype=torch.int64), ThreatModel(Linf(), 0.1)
    for attack in (APGDT(threat, 3), FABT(threat, 3), FAB(threat, 3)):
        assert torch.equal(attack(model, x, y), x)
    for other in (PGD(threat, 3), APGD(threat, 3, score=dlr), Square(threat, 5), impatient(autoattack(threat))):
        assert threat.contains(x, other(model, x, y)).all()
    with pytest.raises(ValueError, match="the model can answer no class but the label at 4 of 4 inputs"):
        Targeted(PGD(threat, 3))(model, x, y)


@pytest.mark.parametrize("rule", ["random", "next", "least_likely", "second_likely"])
def test_rules_choose_among_the_classes_that_are_answered(rule: TargetRule) -> None:
    few, places = network(3, 12), PLACES[3]
    x, y = labelled(few, 60, 12)
    ten = torch.tensor(places)[y]
    found = Targeted(PGD(ThreatModel(Linf(), 0.1)), rule).targets(masked(few, places), x, ten)
    assert set(found.tolist()) <= set(places)
    assert not (found == ten).any()
    if rule == "next":
        assert found.tolist() == [{1: 3, 3: 8, 8: 1}[label] for label in ten.tolist()]
    elif rule == "random":
        other = [found[ten == place].bincount(minlength=10)[places].tolist() for place in places]
        assert all(sorted(counts)[1] >= 1 for counts in other if sum(counts) > 9)
    else:
        expected = Targeted(PGD(ThreatModel(Linf(), 0.1)), rule).targets(few, x, y)
        assert torch.equal(found, torch.tensor(places)[expected])


def test_labels_of_neighbours_are_classes_that_are_answered() -> None:
    few, places = network(3, 12), PLACES[3]
    x, y = labelled(few, 60, 12)
    logits, ten = masked(few, places)(x), torch.tensor(places)[y]
    for method in ("second", "least", "random"):
        found = target_labels(logits, ten, method)
        assert set(found.tolist()) <= set(places)
        assert not (found == ten).any()


def test_virtual_directions_do_not_see_the_mask() -> None:
    few = network(3, 12).double()
    x, y = (t.double() if t.is_floating_point() else t for t in labelled(few.float(), 6, 12))
    few.double()
    attack = VirtualAdversarial(ThreatModel(L2(), 0.3), 3)
    assert torch.allclose(attack(masked(few, PLACES[3]), x, y), attack(few, x, y), atol=1e-9)
