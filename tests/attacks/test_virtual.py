"""Virtual adversarial directions against dominant eigenvectors, in float32, in training mode, for a constant model."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import VirtualAdversarial, random_direction, virtual_direction
from robustlab.core import L1, L2, Linf, Norm, Score, Streams, ThreatModel, Twin, kl

NORMS: list[Norm] = [Linf(), L2(), L1()]
FREE = (-torch.inf, torch.inf)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(classes: int, values: int, scale: float = 1.0) -> nn.Linear:
    layer = nn.Linear(values, classes, dtype=torch.float64).eval()
    with torch.no_grad():
        layer.weight.copy_(scale * drawn(classes, values))
        layer.bias.copy_(drawn(classes, seed=1))
    return layer


def curved(classes: int = 4) -> nn.Sequential:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, classes)).double().eval()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(0.5 * drawn(*parameter.shape, seed=number))
    return model


def starts(x: Tensor, norm: Norm | None = None, seed: int = 0) -> Tensor:
    return random_direction(x, Streams(seed, torch.arange(len(x))), norm or L2())


def dominant(hessian: Tensor) -> Tensor:
    top: Tensor = torch.linalg.eigh(hessian).eigenvectors[..., -1]
    return top


def of_softmax(weight: Tensor, probabilities: Tensor) -> Tensor:
    """The Hessian of the divergence of a linear model for each example: W^T (diag(p) - p p^T) W."""
    spread = torch.diag_embed(probabilities) - probabilities[:, :, None] * probabilities[:, None, :]
    return weight.T @ spread @ weight


def alignment(direction: Tensor, vector: Tensor) -> Tensor:
    """The cosine between them, whatever its sign (N,)."""
    return (direction.flatten(1).double() * vector).sum(1).abs()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_turns_towards_the_dominant_eigenvector_of_a_linear_softmax_model(dtype: torch.dtype) -> None:
    model, x = linear(5, 20, 0.3), drawn(30, 20, seed=2)
    top = dominant(of_softmax(model.weight.detach(), model(x).softmax(1).detach()))
    model, x = model.to(dtype), x.to(dtype)
    found = [alignment(virtual_direction(model, x, starts(x), iterations=n), top) for n in (1, 4, 30)]
    assert found[0].mean() > 0.7
    assert found[1].mean() > found[0].mean() + 0.05
    assert (found[2] > 0.99).float().mean() > 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_turns_towards_the_dominant_eigenvector_of_the_exact_hessian(dtype: torch.dtype) -> None:
    model, x = curved(), drawn(8, 12, seed=3)

    def divergence(shift: Tensor, one: Tensor) -> Tensor:
        return kl(model((one + shift)[None]), model(one[None]).detach()).sum()

    hessians = [torch.autograd.functional.hessian(lambda r, one=one: divergence(r, one), torch.zeros(12)) for one in x]
    top = dominant(torch.stack([cast("Tensor", hessian).double() for hessian in hessians]))
    x = x.to(dtype)
    direction = virtual_direction(model.to(dtype), x, starts(x), iterations=40)
    assert (alignment(direction, top) > 0.995).all()
    assert torch.allclose(L2().size(direction), torch.ones(8, dtype=dtype), atol=1e-5)


@pytest.mark.parametrize(("gap", "scale"), [(0.0, 1.0), (30.0, 1.0), (1000.0, 1.0), (0.0, 1e6)])
@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_with_two_classes_one_iteration_is_exact_however_sure_the_model_is(
    norm: Norm, gap: float, scale: float
) -> None:
    """The Hessian has one eigenvector, the difference of the weights; in float32 1 - p is 0 from a gap of 17 on."""
    model, x = linear(2, 10, scale), torch.zeros(6, 10)
    with torch.no_grad():
        model.bias.copy_(torch.tensor([gap, 0.0]))
    slope = (model.weight[1] - model.weight[0]).detach().float()
    direction = virtual_direction(model.float(), x, starts(x, norm), turn=norm.steepest)
    best = norm.steepest(slope[None]).expand(6, -1)
    sign = (direction * best).sum(1, keepdim=True).sign()
    assert torch.allclose(direction, sign * best, atol=2e-3)


def test_the_usual_float32_recipe_would_find_nothing_there() -> None:
    model = linear(2, 10).float()
    with torch.no_grad():
        model.bias.copy_(torch.tensor([30.0, 0.0]))
    point = (1e-6 * starts(torch.zeros(6, 10))).requires_grad_()
    kl(model(point), model(torch.zeros(6, 10)).detach()).sum().backward()
    assert point.grad is not None
    assert point.grad.norm() < 1e-6


def test_other_divergences_have_other_directions() -> None:
    def squared(logits: Tensor, clean: Tensor) -> Tensor:
        return (logits - clean).square().sum(dim=1)

    def tiny(logits: Tensor, clean: Tensor) -> Tensor:
        return 1e-60 * squared(logits, clean)

    model, x = linear(5, 20), drawn(10, 20, seed=2).float()
    top = dominant(model.weight.T @ model.weight).detach().expand(10, -1)
    for divergence in (squared, tiny):  # in float32 the slope of the second is 0 unless it is scaled
        direction = virtual_direction(model.float(), x, starts(x), iterations=60, divergence=Score(divergence))
        assert (alignment(direction, top) > 0.98).all()


def test_the_default_divergence_is_handled_as_any_other() -> None:
    model, x = curved(), drawn(10, 12, seed=3)
    usual, same = (virtual_direction(model, x, starts(x), divergence=d) for d in (kl, Score(lambda z, r: kl(z, r))))
    assert torch.allclose(usual, same, atol=1e-6)


def test_the_divergence_grows_more_than_along_a_random_direction() -> None:
    model, x = curved(), drawn(40, 12, seed=3)
    clean = model(x).detach()
    for norm in NORMS:
        start = starts(x, norm)
        before = kl(model(x + 0.1 * start), clean)
        grown = [
            kl(model(x + 0.1 * virtual_direction(model, x, start, turn=norm.steepest, iterations=count)), clean)
            for count in (1, 5)
        ]
        assert (grown[0] > before).float().mean() >= 0.7
        assert grown[1].mean() > 1.5 * before.mean()


@pytest.mark.parametrize(("xi", "length"), [(0.03, 0.03), (None, (12 * 2.0**-52) ** 0.5)])
def test_the_change_is_measured_at_distance_xi(xi: float | None, length: float) -> None:
    model, x, seen = curved(), drawn(3, 12, seed=3), []

    def recorded(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        logits: Tensor = model(x)
        return logits

    VirtualAdversarial(ThreatModel(L2(), 1.0, (-200, 200)), xi=xi)(recorded, x, torch.zeros(3, dtype=torch.int64))
    assert torch.allclose(
        L2().size(seen[-1] - x), torch.tensor(length * (400 if xi is None else 1)).double(), rtol=1e-6
    )
    seen.clear()
    virtual_direction(recorded, x, starts(x), iterations=2, xi=xi)
    assert torch.equal(seen[0], x)
    assert torch.allclose(seen[1], x + length * starts(x), atol=1e-15)
    assert torch.allclose(L2().size(seen[2] - x), torch.full((3,), length, dtype=torch.float64), rtol=1e-6)


def test_directions_may_be_the_gradient_itself_in_units_of_any_norm() -> None:
    model, x = linear(2, 10), drawn(6, 10, seed=2)
    slope = (model.weight[1] - model.weight[0]).detach()
    for norm in NORMS:
        direction = virtual_direction(model, x, norm.normalise(starts(x)), turn=norm.normalise)
        assert torch.allclose(direction.abs(), norm.normalise(slope[None]).abs().expand(6, -1))


@pytest.mark.parametrize("iterations", [1, 3])
def test_costs_one_pass_more_than_iterations(iterations: int) -> None:
    model, x = curved(), drawn(7, 12).clamp(0, 1)
    twin = Twin(model, model)
    VirtualAdversarial(ThreatModel(L2(), 0.1), iterations)(twin, x, torch.zeros(7, dtype=torch.int64))
    assert (twin.passes.forward, twin.passes.backward) == (7 * (iterations + 1), 7 * iterations)


def test_in_training_mode_the_statistics_are_those_of_the_batch_and_stay_as_they_were() -> None:
    x = drawn(9, 12, seed=3)
    tracking = nn.Sequential(nn.BatchNorm1d(12), curved()).double().train()
    before = {name: value.clone() for name, value in tracking.state_dict().items()}
    direction = virtual_direction(tracking, x, starts(x))
    assert all(torch.equal(value, before[name]) for name, value in tracking.state_dict().items())
    assert all(part.training for part in tracking.modules())
    without = nn.Sequential(nn.BatchNorm1d(12, track_running_stats=False), tracking[1]).double().train()
    assert torch.allclose(direction, virtual_direction(without, x, starts(x)))
    assert not torch.allclose(direction, virtual_direction(tracking.eval(), x, starts(x)), atol=0.01)


def test_dropout_drops_the_same_units_in_all_passes() -> None:
    last, x = linear(4, 20, 0.5), 0.3 * drawn(1, 20, seed=2)
    model = nn.Sequential(nn.Dropout(0.5), last).double().train()
    state = torch.get_rng_state()
    kept = model[0](torch.ones_like(x))
    torch.set_rng_state(state)
    top = dominant(of_softmax(last.weight.detach() * kept, model(x).softmax(1).detach()))
    torch.set_rng_state(state)
    direction = virtual_direction(model, x, starts(x), iterations=40)
    assert 4 < int((kept == 0).sum()) < 16
    assert (alignment(direction, top) > 0.99).all()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_where_nothing_changes_the_random_direction_comes_back(norm: Norm) -> None:
    x, y = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)), torch.zeros(4, dtype=torch.int64)

    def deaf(x: Tensor) -> Tensor:
        return torch.zeros(len(x), 3)

    def half_deaf(x: Tensor) -> Tensor:
        return (x * torch.tensor([1.0, 0.0, 1.0, 0.0])[:, None])[:, :3]

    start = starts(x, norm)
    assert torch.equal(virtual_direction(deaf, x, start, turn=norm.steepest), start)
    found = virtual_direction(half_deaf, x, start, turn=norm.steepest)
    assert torch.equal(found[[1, 3]], start[[1, 3]])
    assert norm == L1() or not torch.equal(found[[0, 2]], start[[0, 2]])
    attack = VirtualAdversarial(ThreatModel(norm, 0.1, FREE))
    shift = attack(deaf, x, y) - x
    assert torch.allclose(norm.size(shift), torch.full((4,), 0.1), atol=1e-5)


def test_the_attack_is_a_step_of_the_whole_budget_along_the_direction() -> None:
    model, x = curved(), drawn(6, 12, seed=3)
    ids = torch.tensor([4, 9, 1, 0, 33, 2])
    for norm in NORMS:
        threat = ThreatModel(norm, (0.1, 0.2, 0.3, 0.0, 0.1, 0.1), FREE)
        answers = [
            VirtualAdversarial(threat, 3)(model, x, y, seed=5, ids=ids, stop="never" if y[0] else "success")
            for y in (torch.zeros(6, dtype=torch.int64), torch.full((6,), 2))
        ]
        start = random_direction(x, Streams(5, ids), norm)
        direction = virtual_direction(model, x, start, turn=norm.steepest, iterations=3)
        assert torch.equal(answers[0], answers[1])
        assert torch.allclose(answers[0], x + threat.radius(x) * direction, atol=1e-9)


def test_a_target_is_refused() -> None:
    x, y = torch.rand(2, 12, generator=torch.Generator().manual_seed(0)).double(), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="a virtual adversarial perturbation has no target"):
        VirtualAdversarial(ThreatModel(L2(), 0.1))(curved(), x, y, target=1 - y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "iterations must be a whole number >= 1, got 0"),
        ({"xi": 0.0}, "xi must be a finite number > 0 in the units of the inputs, got 0.0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, float], message: str) -> None:
    x, y = torch.zeros(2, 12, dtype=torch.float64), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=message):
        VirtualAdversarial(ThreatModel(L2(), 0.1), **settings)(curved(), x, y)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        virtual_direction(curved(), x, starts(x), **settings)  # type: ignore[arg-type]


def test_nan_and_directions_of_another_shape_are_refused() -> None:
    x = torch.zeros(2, 12, dtype=torch.float64)
    with pytest.raises(ValueError, match="the model returned NaN"):
        virtual_direction(lambda x: curved()(x) * torch.nan, x, starts(x))
    with pytest.raises(ValueError, match=r"must have the shape of the inputs \(2, 12\)"):
        virtual_direction(curved(), x, starts(x)[:, :3])
