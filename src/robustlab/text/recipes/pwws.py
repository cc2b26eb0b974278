"""PWWS: WordNet synonyms at words by saliency times gain; and the same synonyms at words by deletion."""

from __future__ import annotations

from robustlab.text.goals import Untargeted
from robustlab.text.greedy import Greedy, Ranking
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec


def build(use: Ingredients, ranking: Ranking = "pwws") -> TextRecipe:
    """The recipe from its ingredients."""
    return TextRecipe("pwws", Untargeted(), (use.synonyms(),), use.untouched(), Greedy(ranking))


def build_delete(use: Ingredients) -> TextRecipe:
    """The recipe with the words in the order of the score without them."""
    return build(use, "delete")


TEXT_RECIPES.register(
    "pwws",
    RecipeSpec(
        build,
        "WordNet synonyms, words by weighted saliency",
        "Ren et al., Generating Natural Language Adversarial Examples through Probability Weighted Word Saliency, "
        "ACL 2019",
        "named entities are not exchanged and stop words stay; synonyms of all parts of speech, each word once",
        ("wordnet",),
    ),
)
TEXT_RECIPES.register(
    "wordnet-delete",
    RecipeSpec(
        build_delete,
        "WordNet synonyms, words by deletion",
        "Greedy search of Jin et al., AAAI 2020, on the synonyms of Ren et al., ACL 2019",
        "",
        ("wordnet",),
    ),
)
