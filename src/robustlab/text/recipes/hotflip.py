"""HotFlip: words that the gradient points to, by beam search; and a search over coordinates with the same moves."""

from __future__ import annotations

from dataclasses import replace

from robustlab.text.beam import Beam
from robustlab.text.constraints import MostChanged, WordCosine
from robustlab.text.coordinate import GreedyCoordinate
from robustlab.text.goals import Untargeted
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec
from robustlab.text.transformations import GradientSwaps


def build(use: Ingredients) -> TextRecipe:
    """The recipe from its ingredients."""
    return _close(use, GradientSwaps(1))


def build_near(use: Ingredients) -> TextRecipe:
    """The recipe with the best neighbours of each word in place of the best of all words."""
    return _close(use, GradientSwaps(10, among=replace(use.neighbours(100), least=_COSINE)))


def _close(use: Ingredients, swaps: GradientSwaps) -> TextRecipe:
    """The recipe with words that are close in meaning."""
    close = WordCosine(use.vectors(), _COSINE, vocabulary=use.title("counter-fitted"))
    constraints = (*use.untouched(), MostChanged(2), close, use.part_of_speech())
    return TextRecipe("hotflip", Untargeted(), (swaps,), constraints, Beam(10), lazy=False)


def build_free(use: Ingredients) -> TextRecipe:
    """The recipe with two words of any meaning."""
    return TextRecipe("hotflip-free", Untargeted(), (GradientSwaps(1),), (*use.untouched(), MostChanged(2)), Beam(10))


def build_coordinate(use: Ingredients) -> TextRecipe:
    """Greedy coordinate search with a share of words."""
    constraints = (*use.untouched(), MostChanged(share=0.2))
    search = GreedyCoordinate(steps=20, sample=64)
    return TextRecipe("gradient-coordinate", Untargeted(), (GradientSwaps(16, each=True),), constraints, search)


_COSINE = 0.8
_SOURCE = "Ebrahimi et al., HotFlip: White-Box Adversarial Examples for Text Classification, ACL 2018"
TEXT_RECIPES.register(
    "hotflip",
    RecipeSpec(
        build,
        "two words by gradient, close in meaning, beam of 10",
        _SOURCE,
        "only the best exchange of all words is tried, and seldom close in meaning; parts of speech by spaCy",
        ("counter-fitted", "tagger"),
    ),
)
TEXT_RECIPES.register(
    "hotflip-near",
    RecipeSpec(
        build_near,
        "two words by gradient among those close in meaning, beam of 10",
        _SOURCE,
        "the 10 best exchanges among 100 neighbours with cosine >= 0.8, not the best of all words; parts of speech by "
        "spaCy",
        ("counter-fitted", "tagger"),
    ),
)
TEXT_RECIPES.register(
    "hotflip-free",
    RecipeSpec(
        build_free,
        "two words by gradient, of any meaning, beam of 10",
        _SOURCE,
        "no constraint on the meaning of words",
    ),
)
TEXT_RECIPES.register(
    "gradient-coordinate",
    RecipeSpec(
        build_coordinate,
        "words by gradient, best of a random sample in each step",
        "Zou et al., Universal and Transferable Adversarial Attacks on Aligned Language Models, 2023 (GCG)",
        "on a classifier; replaces at most 20 % of the words of a text, each once, where GCG writes a suffix",
    ),
)
