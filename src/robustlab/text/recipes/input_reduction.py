"""Input reduction: words left out while the prediction stays."""

from __future__ import annotations

from robustlab.text.goals import KeepPrediction
from robustlab.text.greedy import Greedy
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec
from robustlab.text.transformations import DeleteWord


def build(_: Ingredients) -> TextRecipe:
    """The recipe from its ingredients."""
    return TextRecipe("input-reduction", KeepPrediction(), (DeleteWord(),), (), Greedy("delete"))


TEXT_RECIPES.register(
    "input-reduction",
    RecipeSpec(
        build,
        "words left out while the prediction stays, greedy",
        "Feng et al., Pathologies of Neural Models Make Interpretations Difficult, EMNLP 2018",
        "words are ranked once, not after each deletion, by deletion and not by gradient; no beam",
    ),
)
