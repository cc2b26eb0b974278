"""Adversarial weight perturbation: each step takes its gradient at perturbed weights with a higher loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Images, Metrics, Recipe, RecipeState, frozen
from robustlab.training.crafting import Backward, RecipeWrapper, TwoPhase
from robustlab.training.recipes import options as o
from robustlab.training.recipes.cross_entropy import PgdOptions
from robustlab.training.recipes.options import passed_to
from robustlab.training.recipes.registry import register_recipe
from robustlab.training.recipes.trades import STEP, TradesOptions, check_weight

_TINY = 1e-20  # as in the released code: a gradient of 0 moves nothing


@register_recipe("awp", "PGD training at perturbed weights")
@dataclass(frozen=True)
class AwpOptions:
    """Options of ``awp`` around PGD training."""

    threat: o.Ball
    gamma: o.Gamma = 0.01
    steps: o.Steps = PgdOptions.steps
    step_size: Annotated[float | None, o.QUARTER.option] = PgdOptions.step_size
    mix: o.Mix = PgdOptions.mix
    bn_mode: o.BnMode = PgdOptions.bn_mode
    eps_warmup: o.EpsWarmup = PgdOptions.eps_warmup
    steps_warmup: o.StepsWarmup = PgdOptions.steps_warmup
    smoothing: o.Smoothing = PgdOptions.smoothing

    def recipe(self) -> Recipe:
        """PGD training at perturbed weights."""
        return awp(passed_to(PgdOptions, self, without=("gamma",)).recipe(), gamma=self.gamma)


@register_recipe("trades-awp", "TRADES at perturbed weights")
@dataclass(frozen=True)
class TradesAwpOptions:
    """Options of ``awp`` around TRADES, with the gamma that the paper has for it."""

    threat: o.Ball
    gamma: o.Gamma = 0.005
    beta: o.Beta = TradesOptions.beta
    steps: o.Steps = TradesOptions.steps
    step_size: Annotated[float | None, STEP.option] = TradesOptions.step_size
    bn_mode: o.BnMode = TradesOptions.bn_mode
    eps_warmup: o.EpsWarmup = TradesOptions.eps_warmup
    steps_warmup: o.StepsWarmup = TradesOptions.steps_warmup

    def recipe(self) -> Recipe:
        """TRADES at perturbed weights."""
        return awp(passed_to(TradesOptions, self, without=("gamma",)).recipe(), gamma=self.gamma)


def awp(recipe: TwoPhase, *, gamma: float = AwpOptions.gamma, warmup: float = 0.0) -> AWP:
    """Another recipe, with the gradient taken at weights perturbed against it.

        v_l = gamma * ||w_l|| * g_l / ||g_l||,   g = grad_w loss(w);   the weights w move by the gradient at w + v

    for each weight w_l with at least two dimensions; biases and normalisation layers are not perturbed.

    Args:
        recipe: one that makes inputs and then learns from them: ``madry``, ``trades``, ``mart``, ``adversarial``, ...
        gamma: size of the perturbation relative to each weight, >= 0: 0.01 for PGD training, 0.005 for TRADES.
        warmup: fraction of the training, in [0, 1], before which nothing is perturbed.

    Raises: ValueError for a recipe that is not in two phases.
    Source: Wu, Xia, Wang, Adversarial Weight Perturbation Helps Robust Generalization, NeurIPS 2020, equations 8 to 10
    with one step each. The released code takes an ascent step of a copy of the model and scales it to the norm of each
    weight: without momentum that is the gradient itself, so no copy is kept. It subtracts the perturbation afterwards;
    ours restores the exact bits, also after an error. With several processes each perturbs by its own part of the
    batch.
    """
    if not (hasattr(recipe, "craft") and hasattr(recipe, "learn")):
        raise ValueError(f"a recipe must first make inputs and then learn from them: {recipe!r} has no two phases")
    return AWP(recipe, gamma, warmup)


@dataclass(frozen=True)
class AWP(RecipeWrapper):
    """The recipe that ``awp`` makes.

    Raises: ValueError for a negative gamma, or a warm-up outside [0, 1].
    """

    recipe: TwoPhase
    gamma: float = 0.01
    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_weight("gamma", self.gamma)
        if not 0.0 <= self.warmup <= 1.0:
            raise ValueError(f"warmup is a fraction of the training, in [0, 1], got {self.warmup}")

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """Makes inputs at the present weights, and takes the loss at perturbed ones."""
        del state
        x_adv = self.recipe.craft(model, batch)
        if not self.gamma or batch.progress < self.warmup:
            return self.recipe.learn(model, batch, x_adv, backward)
        with moved(model, self.worst(model, batch, x_adv, backward)):
            return self.recipe.learn(model, batch, x_adv, backward)

    def worst(self, model: nn.Module, batch: Batch, x_adv: Images, backward: Backward) -> dict[nn.Parameter, Tensor]:
        """The perturbation of each weight that raises the loss; the model is left as it was."""
        with frozen(model):
            self.recipe.learn(model, batch, x_adv, backward)
            weights = [w for name, w in model.named_parameters() if w.ndim > 1 and name.endswith("weight")]
            return {w: self._scaled(w.detach(), w.grad) for w in weights if w.grad is not None}

    def _scaled(self, weight: Tensor, gradient: Tensor) -> Tensor:
        scale: Tensor = self.gamma * weight.norm() / (gradient.norm() + _TINY)
        return gradient * scale


@contextmanager
def moved(model: nn.Module, by: dict[nn.Parameter, Tensor]) -> Iterator[None]:
    """Adds to the weights of a model for the block; afterwards their exact bits are restored."""
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
