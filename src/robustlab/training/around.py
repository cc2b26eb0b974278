"""Recipes around others: what they all have in common."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from robustlab.core import Recipe, RecipeState


@dataclass(frozen=True)
class Around:
    """A recipe that changes what another one sees, or where it is: replayed as often, and remembering the same.

    Args:
        recipe: the one inside.
    """

    recipe: Recipe

    @property
    def replays(self) -> int:
        """As the recipe inside."""
        return self.recipe.replays

    def init(self, model: nn.Module) -> RecipeState:
        """What the recipe inside remembers."""
        return self.recipe.init(model)
