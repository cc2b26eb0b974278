"""Adversarial and virtual regularization: what the original gets wrong, passes made, norm layers, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import L1, L2, Batch, Linf, Norm
from robustlab.core.losses import cross_entropy
from robustlab.regularization import (
    AdversariallyRegularized,
    AdversarialRegularization,
    KLDistance,
    Limits,
    Neighbourhood,
    VirtualNeighbourhood,
    adversarial_neighbour,
    distance_loss,
    reduced,
    target_labels,
    virtual_adversarial_loss,
)


def network(*, norm: bool = False, width: int = 6) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(width, 8), *([nn.BatchNorm1d(8)] if norm else []), nn.Tanh(), nn.Linear(8, 3)]
    return nn.Sequential(*layers)


def batch(rows: int = 5, dtype: torch.dtype = torch.float32) -> Batch:
    draws = torch.Generator().manual_seed(1)
    x = torch.rand(rows, 6, generator=draws, dtype=dtype)
    return Batch(x, torch.arange(rows) % 3, torch.arange(rows), seed=3)


def stepped(recipe: AdversarialRegularization, model: nn.Module, given: Batch) -> tuple[dict[str, float], list[Tensor]]:
    """Metrics of a step and the gradients it leaves."""
    model.zero_grad()
    metrics = recipe.step(model, given, recipe.init(model), lambda loss: loss.backward())
    return metrics, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.slow
@pytest.mark.parametrize("norm", [L2(), L1(), Linf()], ids=str)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("target", ["true", "second", "random"])
@pytest.mark.parametrize("random_start", [False, True])
def test_recipe_and_module_do_the_same(norm: Norm, steps: int, target: str, *, random_start: bool) -> None:
    how = Neighbourhood(norm, 0.1, steps, 0.2, random_start)
    recipe = AdversarialRegularization(how, 0.7, target=target)  # type: ignore[arg-type]
    model, given = network(norm=True), batch()
    metrics, ours = stepped(recipe, model, given)
    model.zero_grad()
    losses = AdversariallyRegularized(model, recipe).losses(given.x, given.y, seed=given.seed, ids=given.ids)
    losses.total.backward()
    assert metrics["loss"] == pytest.approx(losses.total.item(), rel=1e-5)
    assert metrics["adversarial_loss"] == pytest.approx(losses.adversarial.item(), rel=1e-5)
    for found, parameter in zip(ours, model.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-4, atol=1e-6)


def test_multiplier_of_zero_leaves_the_plain_loss_bit_for_bit() -> None:
    model, given = network(), batch()
    _, ours = stepped(AdversarialRegularization(multiplier=0.0), model, given)
    model.zero_grad()
    plain = F.cross_entropy(model(given.x), given.y, reduction="none").mean()  # F's own mean may add in another order
    plain.backward()
    assert all(
        torch.equal(found, p.grad) for found, p in zip(ours, model.parameters(), strict=True) if p.grad is not None
    )
    losses = AdversariallyRegularized(model, AdversarialRegularization(multiplier=0.0)).losses(given.x, given.y)
    assert torch.equal(losses.total, plain)


@pytest.mark.parametrize(("steps", "passes"), [(1, 2), (3, 4)])
def test_step_makes_one_pass_over_examples_and_one_for_each_step(steps: int, passes: int) -> None:
    model, given, seen = network(), batch(), []
    model.register_forward_hook(lambda *_: seen.append(1))
    stepped(AdversarialRegularization(Neighbourhood(steps=steps)), model, given)
    assert len(seen) == passes


def test_neighbour_is_a_constant_of_the_weights() -> None:
    """The gradient of the weights is that of the two losses with the neighbour held fixed."""
    model, given = network().double(), batch(dtype=torch.float64)
    recipe = AdversarialRegularization(Neighbourhood(L2(), 0.5), 0.9)
    _, ours = stepped(recipe, model, given)
    neighbour = adversarial_neighbour(lambda x: F.cross_entropy(model(x), given.y), given.x, recipe.how)
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])

    def total(weights: Tensor) -> Tensor:
        parts = dict(zip(dict(model.named_parameters()), split_like(weights, model), strict=True))
        clean, hard = (torch.func.functional_call(model, parts, (x,)) for x in (given.x, neighbour))
        return F.cross_entropy(clean, given.y) + 0.9 * F.cross_entropy(hard, given.y)

    found, step = torch.cat([slope.flatten() for slope in ours]), 1e-6
    for place in range(0, len(flat), 5):
        nudge = torch.zeros_like(flat)
        nudge[place] = step
        numeric = (total(flat + nudge) - total(flat - nudge)) / (2 * step)
        assert found[place].item() == pytest.approx(numeric.item(), rel=1e-4, abs=1e-8)


def split_like(weights: Tensor, model: nn.Module) -> list[Tensor]:
    sizes = [p.numel() for p in model.parameters()]
    return [part.reshape(p.shape) for part, p in zip(weights.split(sizes), model.parameters(), strict=True)]


def test_batchnorm_follows_the_mode() -> None:
    given = batch(8)
    plain = network(norm=True)
    plain(given.x)
    statistics = {}
    for mode in ("train", "eval", "moving"):
        model = network(norm=True)
        stepped(AdversarialRegularization(Neighbourhood(L2(), 1.0), bn_mode=mode), model, given)
        assert all(part.training for part in model.modules())
        statistics[mode] = dict(model.named_buffers())
    once = dict(plain.named_buffers())
    for mode in ("train", "eval"):
        assert all(torch.equal(once[name], value) for name, value in statistics[mode].items())
    assert statistics["moving"]["1.num_batches_tracked"] == 2
    assert not torch.equal(statistics["moving"]["1.running_mean"], once["1.running_mean"])


def test_weights_may_have_one_axis_and_reach_every_step() -> None:
    """The original fails for weights (N,), and forgets weights after the first of several steps."""
    model, given = network(), batch()
    recipe = AdversarialRegularization(Neighbourhood(L2(), 0.5, steps=3), bn_mode="moving")
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0])
    module = AdversariallyRegularized(model, recipe)
    flat, tall = (module.losses(given.x, given.y, w) for w in (weights, weights[:, None]))
    assert torch.equal(flat.total, tall.total)
    expected = (weights * cross_entropy(model(given.x), given.y)).sum() / 5
    torch.testing.assert_close(flat.base, expected)
    seen: list[Tensor] = []
    model.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].detach().clone()))
    module.losses(given.x, given.y, weights)
    for place in seen[1:]:
        assert torch.equal(place[weights == 0], given.x[weights == 0])
        assert not torch.equal(place[weights > 0], given.x[weights > 0])
    with pytest.raises(ValueError, match=r"weights \(4,\) need a loss that gives one number per example, got \(5,\)"):
        module.losses(given.x, given.y, weights[:4])


def test_module_is_its_model_and_takes_several_tensors() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 3), nn.Linear(4, 3)

        def forward(self, x: dict[str, Tensor]) -> Tensor:
            logits: Tensor = self.a(x["a"]) + self.b(x["b"])
            return logits

    model, y = Pair(), torch.tensor([0, 2])
    x = {"a": torch.rand(2, 2), "b": torch.rand(2, 4)}
    recipe = AdversarialRegularization(Neighbourhood(L2(), 0.3), limits=Limits(mask={"b": 0.0}))
    module = AdversariallyRegularized(model, recipe)
    assert torch.equal(module(x), model(x))
    assert {id(p) for p in module.parameters()} == {id(p) for p in model.parameters()}
    seen: list[dict[str, Tensor]] = []
    model.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    assert module.losses(x, y).total.requires_grad
    assert torch.equal(seen[-1]["b"], x["b"])
    torch.testing.assert_close(L2().size(seen[-1]["a"] - x["a"]), torch.full((2,), 0.3))
    assert x["a"].requires_grad is False


def test_step_lengthens_the_loss_by_the_dual_norm_on_a_linear_model() -> None:
    slope = torch.tensor([[3.0, -1.0, 2.0]])
    for norm, gain in ((Linf(), 6.0), (L2(), 14**0.5), (L1(), 3.0)):
        moved = adversarial_neighbour(lambda x: (x * slope).sum(), torch.zeros(1, 3), Neighbourhood(norm, 0.5))
        assert isinstance(moved, Tensor)
        assert (moved * slope).sum().item() == pytest.approx(0.5 * gain, rel=1e-6)


def test_ball_is_not_left_however_many_steps() -> None:
    given, model = batch(), network()
    for norm in (L1(), L2(), Linf()):
        how = Neighbourhood(norm, 0.1, steps=7, eps=0.25, random_start=True)
        found = adversarial_neighbour(lambda x: F.cross_entropy(model(x), given.y), given.x, how, seed=4)
        assert isinstance(found, Tensor)
        assert norm.size(found - given.x).max() <= 0.25 * (1 + 1e-5)


def test_loss_that_does_not_depend_on_the_inputs_is_refused() -> None:
    with pytest.raises(ValueError, match="does not depend on any floating-point input"):
        adversarial_neighbour(lambda _x: torch.zeros(()), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="does not depend on any floating-point input"):
        adversarial_neighbour(lambda x: x.float().sum(), torch.zeros(2, 3, dtype=torch.int64))


def test_random_target_is_never_the_label() -> None:
    y = torch.arange(10).repeat(200)
    found = target_labels(torch.zeros(2000, 10), y, "random", seed=1)
    assert not (found == y).any()
    counts = torch.bincount((found - y) % 10, minlength=10)[1:]
    assert counts.min() > 150
    assert not torch.equal(found, target_labels(torch.zeros(2000, 10), y, "random", seed=2))


def test_target_draws_towards_another_class() -> None:
    model, given = network(), batch()
    logits = model(given.x)
    least = target_labels(logits, given.y, "least")
    seen: list[Tensor] = []
    model.register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
    how = Neighbourhood(L2(), 0.5)
    AdversariallyRegularized(model, AdversarialRegularization(how, target="least")).losses(given.x, given.y)
    assert (cross_entropy(seen[-1], least) < cross_entropy(logits, least)).all()


def test_virtual_direction_survives_float32() -> None:
    """With the difference of the original, 1e-6, rounding leaves no direction."""
    model, given = network(), batch()
    for distance in (None, KLDistance(softmax=True)):
        how = VirtualNeighbourhood(L2(), 0.3, iterations=2)
        how = how if distance is None else replace(how, distance=distance)
        narrow = virtual_adversarial_loss(model, given.x, how)
        wide = virtual_adversarial_loss(network().double(), given.x.double(), how)
        assert narrow.item() == pytest.approx(wide.item(), rel=1e-2)
        assert narrow.item() > 0


def test_virtual_loss_needs_no_second_pass_over_the_examples() -> None:
    model, given, seen = network(), batch(), []
    logits = model(given.x)
    model.register_forward_hook(lambda *_: seen.append(1))
    known = virtual_adversarial_loss(model, given.x, logits=logits)
    passes = len(seen)
    assert torch.equal(known, virtual_adversarial_loss(model, given.x))
    assert len(seen) == 2 * passes + 1


def test_reductions_and_distances_refuse_shapes_that_do_not_fit() -> None:
    rows = torch.rand(4, 3)
    with pytest.raises(ValueError, match=r"reduction must be one of none, sum, mean.*, got 'median'"):
        reduced(rows, reduction="median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weights \(3,\) do not fit distances \(4, 3\)"):
        distance_loss(rows, rows, torch.ones(3))
    with pytest.raises(ValueError, match=r"rows of the same shape, got \(4, 3\) and \(4, 2\)"):
        distance_loss(rows, rows[:, :2])
    with pytest.raises(ValueError, match=r"source has rows from .* with sums up to .*: softmax=True takes logits"):
        distance_loss(rows, rows, distance=KLDistance())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step_size": 0.0}, "step_size is a length > 0 in input units, got 0.0"),
        ({"steps": 0}, "at least one step, got steps=0"),
        ({"eps": -1.0}, "eps is a radius >= 0 in input units, or None, got -1.0"),
    ],
)
def test_neighbourhood_that_no_search_can_have_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Neighbourhood(**change)  # type: ignore[arg-type]


def test_invalid_regularization_is_refused() -> None:
    with pytest.raises(ValueError, match="multiplier is the weight of a loss, >= 0, got -1"):
        AdversarialRegularization(multiplier=-1)
    with pytest.raises(ValueError, match="bn_mode must be one of train, eval, moving, got 'still'"):
        AdversarialRegularization(bn_mode="still")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="target must be one of true, second, least, random, got 'best'"):
        AdversarialRegularization(target="best")  # type: ignore[arg-type]
    masked = AdversariallyRegularized(network(), AdversarialRegularization(limits=Limits(mask=torch.ones(4))))
    with pytest.raises(ValueError, match=r"a mask or limit \(4,\) does not fit an input \(5, 6\)"):
        masked.losses(batch().x, batch().y)
