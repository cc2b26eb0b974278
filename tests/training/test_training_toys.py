"""Models of a lecture in every recipe: a sum, whose gradient is one number expanded, and a bias without an input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import PGD
from robustlab.core import L1, L2, Batch, Linf, Norm, Recipe, ThreatModel
from robustlab.regularization import (
    AdversariallyRegularized,
    AdversarialRegularization,
    Neighbourhood,
    VirtualNeighbourhood,
    virtual_adversarial_loss,
)
from robustlab.training import adversarial, awp, fast, free, grad_align, mart, smooth_adversarial, trades, vat

LINF = ThreatModel(Linf(), 0.1)
DRAW = torch.Generator().manual_seed(2)
BATCH = Batch(torch.rand(6, 1, 3, 4, generator=DRAW), torch.tensor([0, 1, 0, 1, 1, 0]), torch.arange(6), seed=3)
NORMS: list[Norm] = [Linf(), L2(), L1()]


class Sum(nn.Module):
    """Reads its input through a plain sum."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1)[:, None] * self.weight


class PlainSum(nn.Module):
    """Its gradient by the input is expanded."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.0, 6.0]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).sum(1), torch.zeros(len(x))], 1) + self.bias


class BiasAlone(nn.Module):
    """Ignores its input."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), 2)


MODELS: list[type[nn.Module]] = [Sum, PlainSum, BiasAlone]
RECIPES: list[Recipe] = [
    adversarial(PGD(LINF, 3)),
    fast(LINF),
    free(LINF, replays=2),
    free(ThreatModel(L2(), 0.1), replays=2),
    free(ThreatModel(L1(), 0.1), replays=2),
    grad_align(LINF),
    trades(LINF, steps=2),
    mart(LINF, steps=2),
    awp(adversarial(PGD(LINF, 2))),
    smooth_adversarial(LINF),
    vat(ThreatModel(L2(), 0.5)),
    *(AdversarialRegularization(Neighbourhood(norm, 0.1, steps=2)) for norm in NORMS),
    AdversarialRegularization(Neighbourhood(L2(), 0.1, steps=2, eps=0.15, random_start=True), target="least"),
]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: type(recipe).__name__)
def test_recipes_learn_from_models_of_a_lecture(recipe: Recipe, make: type[nn.Module]) -> None:
    model, x = make(), BATCH.x.clone()
    state = recipe.init(model)
    for _ in range(2):
        metrics = recipe.step(model, BATCH, state, lambda loss: loss.backward())
        assert all(math.isfinite(value) for value in metrics.values())
    grads = [weight.grad for weight in model.parameters()]
    assert all(grad is not None and grad.isfinite().all() and grad.any() for grad in grads)
    assert torch.equal(BATCH.x, x)


@pytest.mark.parametrize("make", MODELS)
def test_regularized_losses_take_models_of_a_lecture(make: type[nn.Module]) -> None:
    for norm in NORMS:
        losses = AdversariallyRegularized(
            make(), AdversarialRegularization(Neighbourhood(norm, 0.1, steps=2), multiplier=1.0)
        ).losses(BATCH.x, BATCH.y)
        assert (losses.adversarial > losses.base) if make is not BiasAlone else (losses.adversarial == losses.base)
        virtual = virtual_adversarial_loss(make(), BATCH.x, VirtualNeighbourhood(norm, 0.1))
        assert (virtual > 0) if make is not BiasAlone else (virtual == 0)
