"""Auto-PGD: known optima, its schedule, its result, and its targeted form on any number of classes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, APGDT
from robustlab.attacks.apgd_rules import Halving, Rule, Sparse, rule_for
from robustlab.attacks.ranked import targeted_dlr
from robustlab.core import (
    L1,
    L2,
    Linf,
    Norm,
    Region,
    Score,
    ThreatModel,
    Twin,
    as_twin,
    cross_entropy,
    dlr,
    margin,
)

FREE = (-torch.inf, torch.inf)


class Recorder(nn.Module):
    """A model that records its inputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        logits: Tensor = self.model(x)
        return logits


@dataclass
class At:
    """Points of a rule."""

    region: Region
    x_adv: Tensor
    grad: Tensor
    x_best: Tensor
    score_best: Tensor
    gains: Tensor


class Hill(nn.Module):
    """Two classes; the second one is likeliest at the top of a hill."""

    def __init__(self, top: Tensor, height: float = -1.0) -> None:
        super().__init__()
        self.top, self.height = top, height

    def forward(self, x: Tensor) -> Tensor:
        far = (x - self.top).square().flatten(1).sum(1)
        return torch.stack([torch.zeros_like(far), self.height - far], dim=1)


def linear(classes: int, values: int, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(values, classes, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(classes, values, generator=generator))
        layer.bias.zero_()
    return layer.eval()


def curved(classes: int = 10, seed: int = 0, inner: int = 32) -> nn.Sequential:
    """A smooth model on 12 values."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, inner), nn.Tanh(), nn.Linear(inner, classes)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def inputs(count: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def labelled(model: nn.Module, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = inputs(count, 12, seed=seed)
    with torch.no_grad():
        return x, model(x).argmax(1)


@pytest.mark.slow
@pytest.mark.parametrize("score", [cross_entropy, dlr, margin], ids=repr)
@pytest.mark.parametrize(("norm", "dual"), [(Linf(), 1), (L2(), 2), (L1(), torch.inf)], ids=lambda part: str(part))
def test_reaches_the_dual_norm_on_a_linear_model(norm: Norm, dual: float, score: Score) -> None:
    model = linear(2, 6)
    x, y = inputs(5, 6), torch.zeros(5, dtype=torch.int64)
    x_adv = APGD(ThreatModel(norm, 0.3, FREE), score=score)(model, x, y, stop="never")
    with torch.no_grad():
        gain = margin(model(x_adv), y) - margin(model(x), y)
        best = 0.3 * torch.linalg.vector_norm(model.weight[1] - model.weight[0], dual)
    # In L1 the number of values that a step changes cannot fall from two to one, so that two may share the budget.
    assert (gain <= best * (1 + 1e-9)).all()
    assert (gain >= best * (0.85 if norm == L1() else 1 - 1e-4)).all()


def test_fills_the_steepest_values_to_the_bounds_in_l1() -> None:
    model, x, y = linear(2, 40), inputs(4, 40), torch.zeros(4, dtype=torch.int64)
    slope = (model.weight[1] - model.weight[0]).detach()
    x_adv = APGD(ThreatModel(L1(), 2.0))(model, x, y, stop="never")
    room = torch.where(slope > 0, 1 - x, x)
    order = slope.abs().argsort(descending=True)
    spent = room[:, order].cumsum(1)
    used = torch.minimum(room[:, order], (2.0 - spent + room[:, order]).clamp_min(0))
    best = (used * slope.abs()[order]).sum(1)
    assert torch.allclose(((x_adv - x) * slope).sum(1), best, rtol=0.01)


@pytest.mark.parametrize("norm", [Linf(), L2()], ids=str)
def test_halving_finds_a_top_inside_the_ball(norm: Norm) -> None:
    x = torch.full((3, 4), 0.5, dtype=torch.float64)
    top = torch.tensor([0.55, 0.47, 0.5, 0.52], dtype=torch.float64)
    y = torch.zeros(3, dtype=torch.int64)
    x_adv = APGD(ThreatModel(norm, 0.3))(Hill(top), x, y)
    assert (x_adv - top).abs().max() < 0.01


@pytest.mark.parametrize(
    ("steps", "windows"),
    [
        (100, [22, 19, 16, 13, 10, 7, 6, 6]),
        (10, [2, 1, 1, 1, 1, 1, 1, 1]),
        (1, []),
        (20, [4, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_adapts_after_shrinking_windows(steps: int, windows: list[int]) -> None:
    due = Halving(Linf(), 0.75, torch.ones(1, 1), torch.zeros(1), torch.ones(1, dtype=torch.bool)).checkpoints(steps)
    assert list(due.values()) == windows
    assert list(due) == [sum(windows[: n + 1]) for n in range(len(windows))]
    assert all(step < steps for step in due)


def test_halves_where_gains_are_few_or_the_best_has_not_risen_since_the_length_was_kept() -> None:
    x = torch.zeros(1, 4)
    threat = ThreatModel(Linf(), 0.25, FREE)
    at = At(threat.region(x), x, torch.ones(1, 4), x, torch.tensor([1.0]), torch.tensor([8.0]))
    rule = rule_for(x, threat, x, rho=0.75, restarted=False)
    assert torch.equal(rule.move(at), torch.full((1, 4), 0.25))
    halved = [rule.adapt(at, 10).item()]  # the first time: gains alone
    halved.append(rule.adapt(at, 10).item())  # many gains, yet the best is what it was
    halved.append(rule.adapt(at, 10).item())  # the length is new: gains alone
    at.score_best = torch.tensor([2.0])
    halved.append(rule.adapt(at, 10).item())  # the best has risen
    at.score_best, at.gains = torch.tensor([3.0]), torch.tensor([7.0])
    halved.append(rule.adapt(at, 10).item())  # few gains
    assert halved == [False, True, False, False, True]
    assert isinstance(rule, Halving)
    assert rule.length.item() == 2 * 0.25 / 4


def test_goes_the_way_that_can_be_worked_out_by_hand() -> None:
    """One value, the top at 0.55, from 0.8; windows of 2, 1, 1 ...; lengths 0.6, 0.6, 0.3, 0.15 three times, 0.075."""
    model = Recorder(Hill(torch.tensor(0.55, dtype=torch.float64), height=-5.0))
    x = torch.full((20, 1), 0.5, dtype=torch.float64)
    APGD(ThreatModel(Linf(), 0.3), steps=10)(Twin(model, model), x, torch.zeros(20, dtype=torch.int64), stop="never")
    way = torch.stack(model.seen)[:, :, 0]
    way = way[:8, way[0] > 0.5]
    by_hand = torch.tensor([0.8, 0.2, 0.5, 0.8, 0.6125, 0.528125, 0.61953125, 0.584375], dtype=torch.float64)
    assert way.shape[1] > 3
    assert torch.allclose(way, by_hand[:, None].expand_as(way), rtol=0, atol=1e-12)


def test_the_last_point_counts() -> None:
    x, y = torch.full((20, 1), 0.5), torch.zeros(20, dtype=torch.int64)
    model = Hill(torch.tensor(1.0), height=0.1)  # the second class from 0.69 upwards
    x_adv = APGD(ThreatModel(Linf(), 0.3), steps=1)(model, x, y)
    assert torch.allclose(x_adv, torch.full_like(x, 0.8))


def test_returns_the_best_of_all_points_at_full_strength() -> None:
    model = Recorder(curved())
    x, y = labelled(model, 6)
    model.seen.clear()
    x_adv = APGD(ThreatModel(L2(), 1.5), steps=25)(Twin(model, model), x, y, stop="never")
    with torch.no_grad():
        best = torch.stack([cross_entropy(model.model(seen), y) for seen in model.seen]).amax(0)
        assert torch.equal(cross_entropy(model.model(x_adv), y), best)
    assert len(model.seen) == 25 + 1


def test_a_finished_example_costs_nothing_more() -> None:
    x, y = torch.full((8, 3), 0.5), torch.tensor([0, 1] * 4)
    twin = as_twin(Hill(torch.zeros(3), height=-5.0))  # always the first class
    x_adv = APGD(ThreatModel(Linf(), 0.1), steps=10)(twin, x, y)
    assert twin.passes.forward == 8 + 4 * 10
    assert twin.passes.backward == 8 + 4 * 9
    assert ((x_adv - x).abs() > 0).all()


def test_one_misclassified_iterate_is_enough() -> None:
    """The score grows along the one value; in between lies a band of the wrong class that the last point is not in."""

    class Band(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            value = x.flatten(1).sum(1)
            wrong = ((value - 0.5).abs() < 0.35) * 2.0
            return torch.stack([1 - value, wrong - value * 0], dim=1)

    x, y = torch.full((4, 1), 0.5), torch.zeros(4, dtype=torch.int64)
    x_adv = APGD(ThreatModel(Linf(), 0.3), steps=5)(Band(), x, y)
    assert (Band()(x_adv).argmax(1) == 1).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=str)
def test_every_point_that_is_scored_at_the_end_is_inside(norm: Norm, dtype: torch.dtype) -> None:
    model = Recorder(curved().to(dtype))
    x = inputs(6, 3, 2, 2, dtype=dtype)
    x.view(-1)[::3] = 0
    threat = ThreatModel(norm, (0.0, 0.01, 0.1, 0.3, 0.7, 0.2))
    x_adv = APGD(threat, steps=20)(Twin(model, model), x, torch.zeros(6, dtype=torch.int64), stop="never")
    assert threat.contains(x, x_adv).all()
    assert threat.contains(x, model.seen[-1]).all()
    assert torch.equal(x_adv[0], x[0])
    assert x_adv.dtype == dtype


def test_wider_phases_come_first_and_do_not_count() -> None:
    model = Recorder(curved())
    x, y = labelled(model, 5)
    model.seen.clear()
    x_adv = APGD(ThreatModel(L1(), 0.2), steps=10)(Twin(model, model), x, y, stop="never")
    sizes = [float(L1().size(seen - x).max()) for seen in model.seen]
    # Each phase has one pass more than it has steps.
    assert [round(max(part), 6) for part in (sizes[:4], sizes[4:8], sizes[8:])] == [0.6, 0.4, 0.2]
    assert L1().size(x_adv - x).max() <= 0.2


def test_sparse_steps_change_the_largest_gradients_only() -> None:
    x = torch.zeros(1, 10)
    grad = torch.tensor([[1.0, -9.0, 3.0, 0.0, 8.0, -2.0, 0.5, 0.1, 0.2, 0.3]])
    one_changed = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
    at = At(ThreatModel(L1(), 6.0).region(x), x, grad, one_changed, x[0], x[0])
    rule = Sparse.begin(x, torch.full((1, 1), 6.0), x, restarted=False)
    assert torch.equal(rule.move(at), torch.tensor([[0.0, -3, 0, 0, 3, 0, 0, 0, 0, 0]]))
    # One changed value of ten is sparser than all: the length stays, and 1 / 1.5 of a value is one value.
    assert rule.adapt(at, 1).item()
    assert torch.equal(rule.move(at), torch.tensor([[0.0, -6, 0, 0, 0, 0, 0, 0, 0, 0]]))
    # As sparse as before: the length shrinks by 1.5 each time, down to a tenth.
    assert not rule.adapt(at, 1).item()
    assert rule.length.item() == pytest.approx(4.0)
    for _ in range(9):
        rule.adapt(at, 1)
    assert rule.length.item() == pytest.approx(0.6)


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_targets_are_the_wrong_classes_there_are(classes: int) -> None:
    twin = as_twin(linear(classes, 8))
    x = inputs(6, 8)
    with torch.no_grad():
        y = twin.model(x).argmax(1)
    x_adv = APGDT(ThreatModel(Linf(), 0.001), steps=5, targets=9)(twin, x, y)
    fooled = int((twin.model(x_adv).argmax(1) != y).sum())
    assert fooled == 0
    assert twin.passes.forward == 6 + 6 * (classes - 1) * (5 + 1)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_targeted_form_reaches_what_a_linear_model_allows(classes: int) -> None:
    model = linear(classes, 8)
    x = inputs(200, 8)
    with torch.no_grad():
        logits = model(x)
        y = logits.argmax(1)
        slope = model.weight[None] - model.weight[y][:, None]
        needed = (logits.gather(1, y[:, None]) - logits) / slope.abs().sum(2).clamp_min(1e-9)
        needed[torch.arange(200), y] = torch.inf
    middle = needed.amin(1).sort().values[80:120]
    widest = int(middle.diff().argmax())
    eps = float(middle[widest : widest + 2].mean())  # between two examples, so that no rounding decides
    x_adv = APGDT(ThreatModel(Linf(), eps, FREE), steps=20)(model, x, y)
    assert torch.equal(model(x_adv).argmax(1) != y, needed.amin(1) < eps)


def test_an_example_that_is_fooled_is_not_attacked_towards_more_classes() -> None:
    class Spike(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            far = (x - 0.5).abs().flatten(1).sum(1, keepdim=True)
            return torch.cat([1 - 1000 * far, torch.zeros(len(x), 9)], dim=1)

    twin = as_twin(Spike())
    x, y = torch.full((130, 2), 0.5), torch.zeros(130, dtype=torch.int64)
    APGDT(ThreatModel(Linf(), 0.1), steps=5)(twin, x, y)
    assert twin.passes.forward == 130 + 130


def test_every_target_has_draws_of_its_own() -> None:
    model = Recorder(curved())
    x, y = labelled(model, 1)
    model.seen.clear()
    APGDT(ThreatModel(Linf(), 0.01), steps=1)(Twin(model, model), x, y)
    assert model.seen[1].shape == (9, 12)
    assert len({tuple(row) for row in model.seen[1].tolist()}) == 9


def test_targeted_dlr_is_the_formula() -> None:
    logits = torch.tensor([[1.0, 7.0, 2.0, 4.0, 0.0], [3.0, 1.0, 2.0, 0.0, 9.0]])
    truth = torch.tensor([[1, 3], [1, 4]])
    assert torch.allclose(targeted_dlr(logits, truth), torch.tensor([(4 - 7) / (7 - 1.5), (9 - 1) / (9 - 1.5)]))
    assert torch.allclose(targeted_dlr(logits[:, :3], truth % 3), torch.tensor([(1 - 7) / (7 - 1), 0.0]))
    assert torch.equal(targeted_dlr(logits[:, :2], truth % 2), torch.tensor([0.0, 2.0]))


def test_a_target_in_the_call_is_the_only_success() -> None:
    model = curved(classes=4)
    x, y = labelled(model, 40)
    target = (y + 2) % 4
    x_adv = APGDT(ThreatModel(Linf(), 0.2), steps=15)(model, x, y, target=target)
    found = model(x_adv).argmax(1)
    assert (found == target).sum() > 10
    with torch.no_grad():
        before, after = (model(z).gather(1, target[:, None]) for z in (x, x_adv))
    assert (after > before).all()
    assert torch.equal(x_adv, APGDT(ThreatModel(Linf(), 0.2), steps=15)(model, x, y, target=target))


def test_what_is_wrong_already_comes_back_from_the_targeted_form() -> None:
    model = curved()
    x, y = labelled(model, 10)
    wrong = (y + 1) % 10
    assert torch.equal(APGDT(ThreatModel(Linf(), 0.1), steps=3)(model, x, wrong), x)


def test_attempts_in_one_batch_find_what_attempts_in_turn_find() -> None:
    model, threat = curved(), ThreatModel(Linf(), 0.06)
    x, y = labelled(model, 130)  # more than share a batch: one target at a time
    attack = APGDT(threat, steps=8, targets=9)
    in_batch = attack(model, x, y, seed=3)
    assert 0.2 < float((model(in_batch).argmax(1) != y).float().mean()) < 0.9
    for rows in (
        slice(0, 1),
        slice(1, 9),
        slice(9, 39),
    ):  # nine, eight and then one, four and then five targets at a time
        ids = torch.arange(130)[rows]
        alone = attack(model, x[rows], y[rows], seed=3, ids=ids)
        assert torch.allclose(alone, in_batch[rows], rtol=0, atol=1e-9)


def test_nan_is_refused() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] / 0 * 0

    x, y = inputs(4, 6), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="NaN for 4 of 4 inputs"):
        APGD(ThreatModel(Linf(), 0.1))(Broken(), x, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"rho": 1.5}, "rho must be a fraction .* got 1.5"),
        ({"phases": ((3.0, 0.5), (2.0, 0.5))}, "the last phase must be in the ball itself"),
        ({"targets": 0}, "targets must be a number of classes >= 1, got 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    make = APGDT if "targets" in settings else APGD
    with pytest.raises(ValueError, match=message):
        make(ThreatModel(Linf(), 0.1), **settings)  # type: ignore[arg-type]


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels must be class numbers 0\.\.2, got 0\.\.3"):
        APGDT(ThreatModel(Linf(), 0.1))(linear(3, 4), inputs(2, 4), torch.tensor([0, 3]))


def test_only_what_follows_another_phase_takes_its_sparsity(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def spied(x: Tensor, threat: ThreatModel, start: Tensor, *, rho: float, restarted: bool) -> Rule:
        seen.append(restarted)
        return rule_for(x, threat, start, rho=rho, restarted=restarted)

    monkeypatch.setattr("robustlab.attacks.apgd.rule_for", spied)
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    APGD(ThreatModel(L1(), 0.2), 10)(nn.Linear(6, 3), x, torch.tensor([0, 1, 2, 0]))
    assert seen == [False, True, True]
