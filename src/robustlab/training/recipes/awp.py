"""Adversarial weight perturbation: each step is done at the weights nearby where it is hardest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Images, Metrics, RecipeState, frozen
from robustlab.training.around import Around
from robustlab.training.crafting import Backward, TwoPhase
from robustlab.training.recipes.trades import check_weight

_TINY = 1e-20  # as in the released code: a gradient of 0 moves nothing


def awp(recipe: TwoPhase, *, gamma: float = 0.01, warmup: float = 0.0) -> AWP:
    """Another recipe, with the gradient taken at weights perturbed against it.

        v_l = gamma * ||w_l|| * g_l / ||g_l||,   g = grad_w loss(w);   the weights w move by the gradient at w + v

    for each weight w_l with at least two dimensions; biases and norm layers are left alone.

    Args:
        recipe: one that makes inputs and then learns from them: ``madry``, ``trades``, ``mart``, ``adversarial``, ...
        gamma: size of the perturbation relative to each weight, >= 0: 0.01 for PGD training, 0.005 for TRADES.
        warmup: share of the training, in [0, 1], before which nothing is perturbed.

    Raises: ValueError for a recipe that is not in two phases.
    Source: Wu, Xia, Wang, Adversarial Weight Perturbation Helps Robust Generalization, NeurIPS 2020, equations 8 to 10
    with one step each. The released code takes an ascent step of a copy of the model and scales it to the norm of each
    weight: without momentum that is the gradient itself, so no copy is kept. It subtracts the perturbation afterwards;
    we put back the very bits, also when something fails. With several processes each perturbs by its own part of the
    batch.
    """
    if not (hasattr(recipe, "craft") and hasattr(recipe, "learn")):
        raise ValueError(
            f"weights are perturbed between making inputs and learning from them: {recipe!r} has no between"
        )
    return AWP(recipe, gamma, warmup)


@dataclass(frozen=True)
class AWP(Around):
    """The recipe that ``awp`` makes.

    Raises: ValueError for a negative gamma, or a warm-up outside [0, 1].
    """

    recipe: TwoPhase
    gamma: float = 0.01
    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_weight("gamma", self.gamma)
        if not 0.0 <= self.warmup <= 1.0:
            raise ValueError(f"warmup is a share of the training, in [0, 1], got {self.warmup}")

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """Inputs are made at the weights as they are; the loss is taken where it is higher."""
        del state
        x_adv = self.recipe.craft(model, batch)
        if not self.gamma or batch.progress < self.warmup:
            return self.recipe.learn(model, batch, x_adv, backward)
        with moved(model, self.worst(model, batch, x_adv, backward)):
            return self.recipe.learn(model, batch, x_adv, backward)

    def worst(self, model: nn.Module, batch: Batch, x_adv: Images, backward: Backward) -> dict[nn.Parameter, Tensor]:
        """The perturbation of each weight that raises the loss, without a trace in the model."""
        with frozen(model):
            self.recipe.learn(model, batch, x_adv, backward)
            weights = [w for name, w in model.named_parameters() if w.ndim > 1 and name.endswith("weight")]
            return {w: self._scaled(w.detach(), w.grad) for w in weights if w.grad is not None}

    def _scaled(self, weight: Tensor, gradient: Tensor) -> Tensor:
        scale: Tensor = self.gamma * weight.norm() / (gradient.norm() + _TINY)
        return gradient * scale


@contextmanager
def moved(model: nn.Module, by: dict[nn.Parameter, Tensor]) -> Iterator[None]:
    """Adds to the weights of a model for the block; afterwards they have the very bits that they had."""
    kept = {weight: weight.detach().clone() for weight in model.parameters() if weight in by}
    try:
        with torch.no_grad():
            for weight, change in by.items():
                weight.add_(change)
        yield
    finally:
        with torch.no_grad():
            for weight, before in kept.items():
                weight.copy_(before)
