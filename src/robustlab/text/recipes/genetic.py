"""Genetic algorithms of Alzantot and of Wang (IGA)."""

from __future__ import annotations

from robustlab.text.constraints import AgainstBefore, MostChanged, WordDistance
from robustlab.text.genetic import Genetic
from robustlab.text.goals import Untargeted
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec


def build(use: Ingredients) -> TextRecipe:
    """Alzantot's recipe from its ingredients."""
    constraints = (*use.untouched(), MostChanged(share=0.2), _near(use), *use.likelihood(2.0))
    return TextRecipe("alzantot", Untargeted(), (use.neighbours(8),), constraints, Genetic(60, 20))


def build_improved(use: Ingredients) -> TextRecipe:
    """Wang's recipe from its ingredients: more neighbours, and words may change again."""
    constraints = (use.no_stop_words(), MostChanged(share=0.2), _near(use))
    search = Genetic(60, 20, crossover="point", changes=5)
    return TextRecipe("iga", Untargeted(), (use.neighbours(50),), constraints, search)


def _near(use: Ingredients) -> AgainstBefore:
    return AgainstBefore(WordDistance(use.vectors(), 0.5, unit=True, vocabulary=use.title("counter-fitted")))


TEXT_RECIPES.register(
    "alzantot",
    RecipeSpec(
        build,
        "8 neighbours of word vectors, genetic",
        "Alzantot et al., Generating Natural Language Adversarial Examples, EMNLP 2018",
        "a language model bounds the change of the log-probability by 2 nats, where the paper keeps its 4 best; "
        "no-lm: no language model",
        ("counter-fitted", "language-model"),
    ),
)
TEXT_RECIPES.register(
    "iga",
    RecipeSpec(
        build_improved,
        "50 neighbours of word vectors, improved genetic",
        "Wang et al., Natural Language Adversarial Attacks and Defenses in Word Level, 2019",
        "",
        ("counter-fitted",),
    ),
)
