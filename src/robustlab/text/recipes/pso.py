"""Particle swarm over synonyms."""

from __future__ import annotations

from robustlab.text.goals import Untargeted
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec
from robustlab.text.swarm import Swarm


def build(use: Ingredients) -> TextRecipe:
    """The recipe from its ingredients."""
    return TextRecipe("pso", Untargeted(), (use.synonyms("hownet"),), use.untouched(), Swarm(60, 20))


TEXT_RECIPES.register(
    "pso",
    RecipeSpec(
        build,
        "synonyms by sememes, particle swarm",
        "Zang et al., Word-level Textual Adversarial Attacking as Combinatorial Optimization, ACL 2020",
        "no limit on the words changed; wordnet: synonyms of WordNet in place of words with the same sememes in HowNet",
        ("hownet",),
    ),
)
