"""Smooth Adversarial Training: smooth gradients, against networks with derivatives written by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import Batch, Linf, Metrics, Recipe, Streams, ThreatModel
from robustlab.data import InMemory
from robustlab.models import smooth, smooth_gradients
from robustlab.training import (
    SmoothIn,
    awp,
    fit,
    free,
    madry,
    overfitting_alarm,
    smooth_adversarial,
    smooth_in,
    standard,
)
from robustlab.training.recipes.smooth import Where
from robustlab.training.settings import Settings
from robustlab.training.training_twin import training_twin

EPS = 0.1
THREAT = ThreatModel(Linf(), EPS)
DRAW = torch.Generator().manual_seed(6)
BATCH = Batch(
    torch.rand(8, 1, 8, 8, generator=DRAW, dtype=torch.float64),
    torch.randint(4, (8,), generator=DRAW),
    torch.arange(50, 58),
    seed=21,
)
X, Y = BATCH.x, BATCH.y
PLACES: tuple[Where, ...] = get_args(Where)


class Derived(nn.Module):
    """ReLU, whose derivative is a step or the sigmoid (that of softplus)."""

    def __init__(self, *, smooth: bool) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = _ByHand.apply(x, self.smooth)
        return found


class _ByHand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, smooth: bool) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x)
        ctx.smooth = smooth
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (x,) = ctx.saved_tensors
        return grad * (torch.sigmoid(x) if ctx.smooth else (x > 0).to(x)), None


@pytest.fixture
def net(make_net: Callable[..., nn.Sequential]) -> nn.Sequential:
    """A network of ReLUs whose running statistics differ from those of the batch."""
    model = make_net(dropout=0.0).double()
    for weight in model.parameters():
        weight.data.mul_(2.0)
    model(torch.rand(30, 1, 8, 8, generator=DRAW, dtype=torch.float64))
    return model


def by_hand(net: nn.Sequential, *, smooth: bool) -> nn.Sequential:
    """The same weights under derivatives that are written down."""
    model = copy.deepcopy(net)
    model[2], model[6] = Derived(smooth=smooth), Derived(smooth=smooth)
    return model


def switched(net: nn.Sequential) -> nn.Module:
    return smooth(net, "softplus", only_gradient=True)


def one_step(model: nn.Module) -> Tensor:
    """PGD-1 from a random point, in running statistics."""
    noise = Streams(21, BATCH.ids).uniform((1, 8, 8), dtype=torch.float64) * 2 * EPS - EPS
    leaf = (X + noise).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(copy.deepcopy(model).eval()(leaf), Y), leaf)
    return (leaf.detach() + EPS * gradient.sign()).clamp(X - EPS, X + EPS).clamp(0, 1)


def backward(loss: Tensor) -> None:
    loss.backward()


def gradients(model: nn.Module) -> list[Tensor]:
    found = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    return found


def learned(recipe: Recipe, model: nn.Module) -> tuple[Metrics, list[Tensor]]:
    metrics = recipe.step(model, BATCH, recipe.init(model), backward)
    return metrics, gradients(model)


@pytest.mark.parametrize("where", PLACES)
def test_inputs_and_weights_follow_the_gradient_that_is_theirs(net: nn.Sequential, where: Where) -> None:
    attacked = by_hand(net, smooth=where in ("attack", "both"))
    trained = by_hand(net, smooth=where in ("update", "both"))
    x_adv = one_step(attacked)
    model, recipe = switched(net), smooth_in(smooth_adversarial(THREAT), where)
    torch.testing.assert_close(recipe.craft(model, BATCH), x_adv, rtol=0.0, atol=1e-12)
    metrics, got = learned(recipe, model)
    loss = F.cross_entropy(trained(x_adv), Y, label_smoothing=0.1)
    loss.backward()
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(got, gradients(trained), rtol=1e-9, atol=1e-12)


def test_the_four_places_differ(net: nn.Sequential) -> None:
    found = {}
    for where in PLACES:
        model, recipe = switched(net), smooth_in(smooth_adversarial(THREAT), where)
        found[where] = recipe.craft(model, BATCH), learned(recipe, model)[1][0]
    assert torch.equal(found["attack"][0], found["both"][0])
    assert torch.equal(found["update"][0], found["neither"][0])
    assert not torch.equal(found["attack"][0], found["neither"][0])
    slopes = [slope for _, slope in found.values()]
    assert all(not torch.allclose(a, b) for k, a in enumerate(slopes) for b in slopes[:k])


def test_smooth_in_neither_is_the_recipe_on_the_network_of_relus(net: nn.Sequential) -> None:
    metrics, got = learned(smooth_in(madry(THREAT), "neither"), switched(net))
    plain, expected = learned(madry(THREAT), net)
    assert metrics == pytest.approx(plain)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("where", ["attack", "update"])
def test_what_looks_at_the_model_in_between_changes_nothing(net: nn.Sequential, where: Where) -> None:
    recipe = smooth_in(smooth_adversarial(THREAT), where)
    alone = learned(recipe, switched(net))[1]
    watched = learned(overfitting_alarm(recipe, THREAT, every=1, examples=8), switched(net))[1]
    assert all(map(torch.equal, watched, alone))


def test_the_twin_is_made_anew_when_derivatives_are_switched(net: nn.Sequential) -> None:
    model, slopes = switched(net).eval(), []
    for on in (True, False, True):
        with smooth_gradients(model, on=on):
            twin = training_twin(model, X)
            leaf = X.clone().requires_grad_()
            slopes.append(torch.autograd.grad(twin.searched(leaf).square().sum(), leaf)[0])
            assert torch.allclose(slopes[-1], torch.autograd.grad(model(leaf).square().sum(), leaf)[0])
    assert torch.equal(slopes[0], slopes[2])
    assert not torch.allclose(slopes[0], slopes[1])


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_switched_as_before(net: nn.Sequential, fails: bool) -> None:
    model, recipe = switched(net), smooth_in(madry(THREAT), "both")

    def failing(loss: Tensor) -> None:
        backward(loss)
        if fails:
            raise KeyError("out of memory")

    with smooth_gradients(model, on=False):
        if fails:
            with pytest.raises(KeyError, match="out of memory"):
                recipe.step(model, BATCH, recipe.init(model), failing)
        else:
            recipe.step(model, BATCH, recipe.init(model), failing)
        assert [getattr(part, "on", None) for part in model.children()].count(False) == 2


def test_weights_may_be_perturbed_around_it(net: nn.Sequential) -> None:
    inner = smooth_in(smooth_adversarial(THREAT), "update")
    got = learned(awp(inner, gamma=0.0), switched(net))[1]
    assert all(map(torch.equal, got, learned(inner, switched(net))[1]))


def test_the_recipe_of_the_paper_is_one_step_of_eps(net: nn.Sequential) -> None:
    model = smooth(net, "silu")
    x_adv = one_step(model)
    metrics, got = learned(smooth_adversarial(THREAT), model)
    loss = F.cross_entropy(model(x_adv), Y, label_smoothing=0.1)
    loss.backward()
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(got, gradients(model), rtol=1e-9, atol=1e-12)


def test_a_smooth_network_learns(squares: InMemory, make_net: Callable[..., nn.Sequential]) -> None:
    model = smooth(make_net(dropout=0.0), "silu", only_gradient=True)
    recipe = smooth_in(smooth_adversarial(ThreatModel(Linf(), 0.03)), "both")
    history = fit(model, recipe, squares, Settings(15, batch_size=25))
    assert history["accuracy"][-1] > 0.9


def test_what_cannot_be_is_refused(net: nn.Sequential) -> None:
    with pytest.raises(ValueError, match="where must be one of attack, update, both, neither, got 'everywhere'"):
        smooth_in(madry(THREAT), "everywhere")  # type: ignore[arg-type] # that is the fault
    with pytest.raises(ValueError, match=r"Free\(.*\) has no two phases"):
        smooth_in(free(THREAT), "both")  # type: ignore[arg-type] # that is the fault
    with pytest.raises(ValueError, match=r"Sequential has no derivative .*smooth\(model, only_gradient=True\)"):
        SmoothIn(standard(), "both").init(net)
