"""A2T: made for adversarial training; words by gradient, few changes."""

from __future__ import annotations

from robustlab.text.constraints import MostChanged, WordCosine
from robustlab.text.goals import Untargeted
from robustlab.text.greedy import Greedy
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec


def build(use: Ingredients) -> TextRecipe:
    """The recipe from its ingredients."""
    return TextRecipe(
        "a2t",
        Untargeted(),
        (use.neighbours(20),),
        (
            *use.untouched(),
            MostChanged(share=0.1, least=4),
            WordCosine(use.vectors(), 0.8, vocabulary=use.title("counter-fitted")),
            use.part_of_speech(noun_verb=False),
            use.similarity(0.9, need="sbert"),
        ),
        Greedy("gradient", closest=True),
    )


TEXT_RECIPES.register(
    "a2t",
    RecipeSpec(
        build,
        "few neighbours of word vectors, words by gradient",
        "Yoo and Qi, Towards Improving Adversarial Training of NLP Models, Findings of EMNLP 2021",
        "parts of speech by spaCy; needs a victim with gradients of words",
        ("counter-fitted", "sbert", "tagger"),
    ),
)
