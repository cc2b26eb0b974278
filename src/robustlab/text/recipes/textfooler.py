"""TextFooler: neighbours among word vectors, close in meaning and part of speech."""

from __future__ import annotations

import math

from robustlab.text.constraints import WordCosine
from robustlab.text.goals import Untargeted
from robustlab.text.greedy import Greedy
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec

SIMILARITY = round(1 - 0.5 / math.pi, 9)
"""The released code demands 1 - angle >= 0.5; this is the same bound on 1 - angle / pi."""


def build(use: Ingredients) -> TextRecipe:
    """The recipe from its ingredients."""
    return TextRecipe(
        "textfooler",
        Untargeted(),
        (use.neighbours(50),),
        (
            *use.untouched(),
            WordCosine(use.vectors(), 0.5, vocabulary=use.title("counter-fitted")),
            use.part_of_speech(),
            use.similarity(SIMILARITY, window=15, against="before", angular=True),
        ),
        Greedy("delete", closest=True),
    )


TEXT_RECIPES.register(
    "textfooler",
    RecipeSpec(
        build,
        "neighbours of word vectors, similar sentences, greedy",
        "Jin et al., Is BERT Really Robust?, AAAI 2020",
        "cosine of words >= 0.5 as in the released code, not 0.7 as in the paper; parts of speech by spaCy",
        ("counter-fitted", "use", "tagger"),
    ),
)
