"""Recipes with a masked language model: BAE, BERT-Attack and CLARE."""

from __future__ import annotations

from robustlab.text.beam import Beam
from robustlab.text.constraints import MostChanged
from robustlab.text.goals import Untargeted
from robustlab.text.greedy import Greedy
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec

BAE_SIMILARITY = 0.936338023
"""The bound 0.8 of the paper on 1 - angle, carried over to 1 - angle / pi by the authors."""
_NEEDS = ("masked-model", "use")


def build_bae(use: Ingredients) -> TextRecipe:
    """BAE from its ingredients: words are replaced (BAE-R)."""
    constraints = (*use.untouched(), use.part_of_speech(), use.similarity(BAE_SIMILARITY, window=15))
    return TextRecipe("bae", Untargeted(), (use.masked(count=50),), constraints, Greedy("delete", closest=True))


def build_bert_attack(use: Ingredients) -> TextRecipe:
    """BERT-Attack from its ingredients."""
    constraints = (*use.untouched(), MostChanged(share=0.4), use.similarity(0.2))
    transformations = (use.masked(count=48, gap="keep"),)
    return TextRecipe("bert-attack", Untargeted(), transformations, constraints, Greedy("unk", closest=True))


def build_clare(use: Ingredients) -> TextRecipe:
    """CLARE from its ingredients."""
    gaps = (
        use.masked(count=50, least=5e-4),
        use.masked(count=50, gap="insert"),
        use.masked(count=50, least=5e-3, gap="merge"),
    )
    return TextRecipe("clare", Untargeted(), gaps, (*use.untouched(), use.similarity(0.7, window=15)), Beam(1))


TEXT_RECIPES.register(
    "bae",
    RecipeSpec(
        build_bae,
        "words of a masked model, similar sentences, greedy",
        "Garg and Ramakrishnan, BAE: BERT-based Adversarial Examples for Text Classification, EMNLP 2020 (BAE-R)",
        "similarity to the original, not to the text before; whole words in the case of the word they replace",
        (*_NEEDS, "tagger"),
        verified=False,
    ),
)
TEXT_RECIPES.register(
    "bert-attack",
    RecipeSpec(
        build_bert_attack,
        "words of a masked model that sees the word, greedy",
        "Li et al., BERT-ATTACK: Adversarial Attack Against BERT Using BERT, EMNLP 2020",
        "of a word with several pieces the 48 most probable combinations of at most 4 pieces; similarity >= 0.2 before "
        "each step, not afterwards",
        _NEEDS,
        verified=False,
    ),
)
TEXT_RECIPES.register(
    "clare",
    RecipeSpec(
        build_clare,
        "words replaced, inserted and merged by a masked model, best of all",
        "Li et al., Contextualized Perturbation for Textual Adversarial Attack, NAACL 2021",
        "the text with the best score of each step, without the masked model's own part in the score",
        _NEEDS,
        verified=False,
    ),
)
