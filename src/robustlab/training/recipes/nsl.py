"""Adversarial regularization as in Neural Structured Learning, as a recipe of the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from robustlab.core import Norm, Recipe
from robustlab.regularization import AdversarialRegularization, Neighbourhood
from robustlab.regularization.adversarial import BnMode
from robustlab.training.recipes import options as o
from robustlab.training.recipes.options import Budget
from robustlab.training.recipes.registry import register_recipe


@register_recipe("nsl", "adversarial regularization as in Neural Structured Learning; --eps only to stay in the ball")
@dataclass(frozen=True)
class NslOptions:
    """Options of ``regularization.AdversarialRegularization``."""

    norm: Annotated[Norm, Budget(norm="l2")]
    eps: Annotated[float | None, Budget(norm="l2")] = Neighbourhood.eps
    steps: o.Steps = Neighbourhood.steps
    step_size: Annotated[float, o.STEP_SIZE] = Neighbourhood.step_size
    weight: o.Weight = AdversarialRegularization.multiplier
    bn_mode: Annotated[BnMode, o.BN_MODE] = AdversarialRegularization.bn_mode

    def recipe(self) -> Recipe:
        """``regularization.AdversarialRegularization`` with these neighbours."""
        neighbourhood = Neighbourhood(self.norm, self.step_size, self.steps, self.eps)
        return AdversarialRegularization(neighbourhood, self.weight, bn_mode=self.bn_mode)
