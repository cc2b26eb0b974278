"""DeepWordBug: four kinds of typos; and all typos of two kinds, without chance."""

from __future__ import annotations

from robustlab.text.constraints import EditDistance
from robustlab.text.goals import Untargeted
from robustlab.text.greedy import Greedy
from robustlab.text.parts import TextRecipe, Transformation
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec
from robustlab.text.transformations import (
    DeleteCharacter,
    InsertCharacter,
    OneOf,
    SubstituteCharacter,
    SwapNeighbours,
)


def build(use: Ingredients) -> TextRecipe:
    """The recipe from its ingredients."""
    kinds = (SwapNeighbours(), SubstituteCharacter(), DeleteCharacter(), InsertCharacter())
    return _typos(use, tuple(OneOf(one) for one in kinds))


def build_all(use: Ingredients) -> TextRecipe:
    """The recipe with all swaps and deletions."""
    return _typos(use, (SwapNeighbours(), DeleteCharacter()))


def _typos(use: Ingredients, typos: tuple[Transformation, ...]) -> TextRecipe:
    return TextRecipe("deepwordbug", Untargeted(), typos, (*use.untouched(), EditDistance(30)), Greedy("delete"))


TEXT_RECIPES.register(
    "deepwordbug",
    RecipeSpec(
        build,
        "one typo of each kind at random, greedy",
        "Gao et al., Black-box Generation of Adversarial Text Sequences to Evade Deep Learning Classifiers, SPW 2018",
        "words by their deletion, not by the combined score of the paper; each word once, stop words stay",
    ),
)
TEXT_RECIPES.register(
    "typo-delete",
    RecipeSpec(
        build_all,
        "all swaps of neighbours and all deletions of a character, greedy",
        "Gao et al., SPW 2018, with every swap and deletion in place of one at random",
    ),
)
