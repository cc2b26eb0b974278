"""Fast adaptive boundary attack: projections against solvers, smallest perturbations of linear models, budgets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FAB, FABT
from robustlab.attacks.hyperplane import dual, to_hyperplane
from robustlab.core import L1, L2, Linf, Norm, ThreatModel, Twin, as_twin

NORMS = [Linf(), L2(), L1()]


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(classes: int, values: int, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(values, classes, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(rand(classes, values, seed=seed) * 2 - 1)
        layer.bias.zero_()
    return layer.eval()


def curved(classes: int = 10) -> nn.Sequential:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, classes)).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def labelled(model: nn.Module, count: int, values: int = 12) -> tuple[Tensor, Tensor]:
    x = rand(count, values, seed=1)
    with torch.no_grad():
        return x, model(x).argmax(1)


def needed(model: nn.Linear, x: Tensor, y: Tensor, norm: Norm) -> Tensor:
    """The size of the smallest perturbation without bounds, towards each class (N, K); infinite for the label."""
    with torch.no_grad():
        logits = model(x)
        slope = model.weight[None] - model.weight[y][:, None]
        steep = torch.stack([dual(norm).size(slope[:, k]) for k in range(logits.shape[1])], 1)
        distance: Tensor = ((logits.gather(1, y[:, None]) - logits) / steep).scatter(1, y[:, None], torch.inf)
        return distance


def _square(change: np.ndarray) -> float:
    return float(change @ change)


def _twice(change: np.ndarray) -> np.ndarray:
    return 2 * change


def solved(norm: Norm, x: np.ndarray, slope: np.ndarray, rise: float) -> float:
    """The optimum by a general solver: a linear programme in (change, size of each value or of all), or SLSQP."""
    from scipy.optimize import Bounds, LinearConstraint, linprog, minimize

    d = len(x)
    if norm == L2():
        line = LinearConstraint(slope[None], rise, rise)
        smallest = minimize(_square, np.zeros(d), jac=_twice, tol=1e-14, bounds=Bounds(-x, 1 - x), constraints=[line])
        return float(np.sqrt(smallest.fun))
    sizes = np.ones((d, 1)) if norm == Linf() else np.eye(d)
    eye, count = np.eye(d), sizes.shape[1]
    found = linprog(
        np.r_[np.zeros(d), np.ones(count)],
        A_ub=np.block([[eye, -sizes], [-eye, -sizes]]),
        b_ub=np.zeros(2 * d),
        A_eq=np.r_[slope, np.zeros(count)][None],
        b_eq=[rise],
        bounds=[*zip(-x, 1 - x, strict=True), *[(0, None)] * count],
    )
    assert found.fun is not None
    return float(found.fun)


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_projection_onto_a_hyperplane_within_bounds_is_the_smallest(norm: Norm) -> None:
    x, slope = rand(12, 6), rand(12, 6, seed=1) * 2 - 1
    slope[3, 2] = 0
    x[4, :3], x[5, 3:] = 0.0, 1.0
    most = torch.where(slope > 0, 1 - x, x).mul(slope.abs()).sum(1)
    least = -torch.where(slope > 0, x, 1 - x).mul(slope.abs()).sum(1)
    rise = least + (most - least) * torch.linspace(0.02, 0.98, 12)
    change = to_hyperplane(x, slope, rise, norm, (0.0, 1.0))
    assert torch.allclose((change * slope).sum(1), rise, atol=1e-9)
    assert ((x + change) >= 0).all()
    assert ((x + change) <= 1).all()
    best = [solved(norm, a.numpy(), w.numpy(), float(r)) for a, w, r in zip(x, slope, rise, strict=True)]
    assert torch.allclose(norm.size(change), torch.tensor(best, dtype=torch.float64), rtol=1e-5)


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_out_of_reach_goes_as_far_as_the_bounds_allow(norm: Norm) -> None:
    x, slope = rand(3, 2, 4), rand(3, 2, 4, seed=1) - 0.5
    slope[0, 0, 0] = 0
    change = to_hyperplane(x, slope, torch.tensor([100.0, -100.0, 100.0], dtype=torch.float64), norm, (0.0, 1.0))
    up = (slope > 0) ^ torch.tensor([False, True, False]).reshape(3, 1, 1)
    assert torch.allclose(change, torch.where(slope == 0, 0.0, torch.where(up, 1 - x, -x)))


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_without_bounds_the_distance_is_the_rise_over_the_dual_norm(norm: Norm) -> None:
    x, slope, rise = rand(4, 9), rand(4, 9, seed=1) - 0.5, torch.tensor([0.1, -3.0, 0.0, 50.0], dtype=torch.float64)
    change = to_hyperplane(x, slope, rise, norm, (-torch.inf, torch.inf))
    assert torch.allclose(norm.size(change), rise.abs() / dual(norm).size(slope))


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("kind", [FAB, FABT])
def test_finds_the_smallest_perturbation_of_a_linear_model(
    kind: type[FAB] | type[FABT], norm: Norm, classes: int
) -> None:
    model = linear(classes, 12)
    x, y = labelled(model, 30)
    attack = kind(ThreatModel(norm, 50.0, (-50.0, 50.0)), steps=60)
    x_adv = attack(model, x, y, stop="never")
    best = needed(model, x, y, norm).amin(1)
    assert (model(x_adv).argmax(1) != y).all()
    assert torch.allclose(norm.size(x_adv - x), best, rtol=0.01)


def test_more_steps_never_lose_a_smaller_perturbation() -> None:
    model = curved()
    x, y = labelled(model, 20)
    sizes = [L2().size(FAB(ThreatModel(L2(), 5.0), steps=n)(model, x, y, stop="never") - x) for n in range(2, 16)]
    found = torch.stack(sizes)
    found[found == 0] = torch.inf  # nothing yet: the input itself came back
    assert (found[1:] <= found[:-1]).all()
    assert (found[-1] < found[0]).sum() > 10


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("kind", [FAB, FABT])
def test_succeeds_where_the_budget_is_enough(kind: type[FAB] | type[FABT], norm: Norm) -> None:
    model = linear(4, 12)
    x, y = labelled(model, 60)
    best = needed(model, x, y, norm).amin(1)
    threat = ThreatModel(norm, float(best.median()) * 1.0001, (-50.0, 50.0))
    x_adv = kind(threat, steps=60)(model, x, y)
    assert threat.contains(x, x_adv).all()
    fooled = model(x_adv).argmax(1) != y
    assert fooled[1.02 * best <= threat.radius(x)].all(), "points lie a little beyond the boundary"
    assert not fooled[best > threat.radius(x)].any()
    assert torch.equal(x_adv[~fooled], x[~fooled])


@pytest.mark.parametrize("kind", [FAB, FABT])
def test_a_target_in_the_call_is_the_only_success(kind: type[FAB] | type[FABT]) -> None:
    model = linear(5, 12)
    x, y = labelled(model, 30)
    reached = torch.tensor(sorted(set(y.tolist())))  # some classes of a linear model are the largest nowhere
    target = reached[(torch.searchsorted(reached, y) + 1) % len(reached)]
    assert len(reached) >= 3
    x_adv = kind(ThreatModel(L2(), 20.0, (-50.0, 50.0)), steps=60)(model, x, y, target=target)
    assert torch.equal(model(x_adv).argmax(1), target)


def test_what_is_wrong_already_costs_one_pass() -> None:
    model = curved()
    x, y = labelled(model, 8)
    for attack in (FAB(ThreatModel(L2(), 0.5), steps=5), FABT(ThreatModel(L2(), 0.5), steps=5)):
        twin = as_twin(model)
        assert torch.equal(attack(twin, x, (y + 1) % 10), x)
        assert (twin.passes.forward, twin.passes.backward) == (8, 0)


def test_a_step_costs_two_forward_passes_and_one_backward_pass_per_class() -> None:
    model = curved()
    x, y = labelled(model, 8)
    small = ThreatModel(L2(), 1e-6)
    twin = as_twin(model)
    FAB(small, steps=5)(twin, x, y)
    assert (twin.passes.forward, twin.passes.backward) == (8 * (1 + 2 * 5), 8 * 5 * 10)
    twin = as_twin(model)
    FABT(small, steps=5, targets=3)(twin, x, y)
    assert (twin.passes.forward, twin.passes.backward) == (8 + 8 * 3 * (1 + 2 * 5), 8 * 3 * 5)


@pytest.mark.slow
def test_micro_batches_and_classes_in_one_batch_change_nothing() -> None:
    model = curved()
    x, y = labelled(model, 30)
    threat = ThreatModel(L2(), 0.3)
    for attack in (FAB(threat, steps=10), FABT(threat, steps=10)):
        whole = attack(model, x, y)
        parts = attack(Twin(model, model, rows=4), x, y)
        alone = attack(model, x[7:8], y[7:8], ids=torch.tensor([7]))
        assert torch.allclose(whole, parts, rtol=0, atol=1e-9)
        assert torch.allclose(whole[7:8], alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_a_random_start_is_half_as_far_out_as_the_budget(norm: Norm) -> None:
    seen: list[Tensor] = []

    class Recorder(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return torch.stack([x.flatten(1).sum(1), -x.flatten(1).sum(1)], dim=1)

    model, x = Recorder(), rand(5, 12) * 0.2 + 0.4
    attack = FAB(ThreatModel(norm, 0.2), steps=1, random_start=True)
    attack(Twin(model, model), x, torch.zeros(5, dtype=torch.int64), seed=1)
    assert torch.allclose(norm.size(seen[0] - x), torch.tensor(0.1, dtype=torch.float64))
    seen.clear()
    attack(Twin(model, model), x[:1], torch.zeros(1, dtype=torch.int64), seed=2)
    assert not torch.equal(seen[0], x[:1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_the_result_is_inside_at_any_precision(norm: Norm, dtype: torch.dtype) -> None:
    model = curved().to(dtype)
    x, y = labelled(curved(), 6)
    threat = ThreatModel(norm, (0.0, 0.01, 0.05, 0.2, 0.5, 0.3))
    x = x.to(dtype)
    for stop in ("success", "never"):
        x_adv = FABT(threat, steps=10)(model, x, y, stop=stop)
        assert threat.contains(x, x_adv).all()
        assert torch.equal(x_adv[0], x[0])


def test_a_model_without_a_slope_is_left_alone() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([1.0, 0.5, 0.0]).repeat(len(x), 1)

    x, y = rand(4, 3, 2).float(), torch.zeros(4, dtype=torch.int64)
    for attack in (FAB(ThreatModel(Linf(), 0.1), steps=2), FABT(ThreatModel(Linf(), 0.1), steps=2)):
        assert ThreatModel(Linf(), 0.1).contains(x, attack(Flat(), x, y)).all()


def test_nan_is_refused() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] / 0 * 0

    with pytest.raises(ValueError, match="NaN for 4 of 4 inputs"):
        FAB(ThreatModel(Linf(), 0.1))(Broken(), rand(4, 6), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"alpha_max": 1.5}, "must be in .*, got 1.5 and 0.9"),
        ({"backward": -0.5}, "must be in .*, got 0.1 and -0.5"),
        ({"targets": 0}, "targets must be a number of classes >= 1, got 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, float], message: str) -> None:
    make = FABT if "targets" in settings else FAB
    with pytest.raises(ValueError, match=message):
        make(ThreatModel(Linf(), 0.1), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("kind", [FAB, FABT])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_leaves_an_exact_tie(kind: type[FAB] | type[FABT], norm: Norm, dtype: torch.dtype) -> None:
    """The boundary is where the input is: a step onto it is none."""
    weight = torch.tensor([[1.0, -1.0, 0.5, 0.0], [-1.0, 1.0, 0.25, 0.0], [0.0, 0.0, 0.0, -1.0]]).to(dtype)
    x = torch.tensor([[0.5, 0.5, 0.0, 0.5], [0.25, 0.25, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]]).to(dtype)
    y = torch.zeros(3, dtype=torch.int64)  # in a tie the first of the largest counts: right, by nothing

    def model(x: Tensor) -> Tensor:
        return x @ weight.T

    assert (model(x)[:, 0] == model(x)[:, 1]).all()
    threat = ThreatModel(norm, 0.1)
    x_adv = kind(threat, steps=20)(model, x, y)
    assert (model(x_adv).argmax(1) != y).all()
    assert threat.contains(x, x_adv).all()


@pytest.mark.parametrize("kind", [FAB, FABT])
def test_goes_round_a_class_that_is_always_level(kind: type[FAB] | type[FABT]) -> None:
    """Two classes with the same weights never part, and the tie is the true class's: a third one is to be found."""
    weight = torch.tensor([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    x, y = torch.tensor([[0.6, 0.4]], dtype=torch.float64), torch.tensor([0])
    x_adv = kind(ThreatModel(Linf(), 0.2), steps=10)(lambda x: x @ weight.T, x, y)
    assert (x_adv @ weight.T).argmax(1).item() == 2
