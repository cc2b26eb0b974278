"""Recipes that try every change of a text and take the best: CheckList, Pruthi and Kuleshov."""

from __future__ import annotations

from robustlab.text.beam import Beam
from robustlab.text.constraints import MeanVector, MinLength, MostChanged, NoRepeat
from robustlab.text.goals import Untargeted
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec
from robustlab.text.transformations import (
    ChangeName,
    ChangeNumber,
    Contract,
    DeleteCharacter,
    Expand,
    InsertCharacter,
    KeyboardNeighbours,
    SwapNeighbours,
)
from robustlab.text.transformations.checklist import PLACES


def build_checklist(_: Ingredients) -> TextRecipe:
    """CheckList's invariances."""
    changes = (Expand(), Contract(), ChangeName(), ChangeNumber(), ChangeName(PLACES, what="places"))
    return TextRecipe("checklist", Untargeted(), changes, (NoRepeat(),), Beam(1))


def build_pruthi(use: Ingredients) -> TextRecipe:
    """Pruthi's misspellings: one character inside one word."""
    kinds = (
        SwapNeighbours(inner=True), DeleteCharacter(inner=True), InsertCharacter(inner=True),
        KeyboardNeighbours(inner=True),
    )  # fmt: skip
    constraints = (MinLength(4), *use.untouched(), MostChanged(1))
    return TextRecipe("pruthi", Untargeted(), kinds, constraints, Beam(1))


def build_kuleshov(use: Ingredients) -> TextRecipe:
    """Kuleshov's recipe from its ingredients."""
    mean = MeanVector(use.vectors(), 0.2, use.title("counter-fitted"))
    constraints = (*use.untouched(), MostChanged(share=0.5), mean, *use.likelihood(2.0))
    return TextRecipe("kuleshov", Untargeted(), (use.neighbours(15),), constraints, Beam(1))


TEXT_RECIPES.register(
    "checklist",
    RecipeSpec(
        build_checklist,
        "contractions, numbers, names and places, best of all",
        "Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models with CheckList, ACL 2020 (invariances)",
        "names and places are known from short lists of our own, not found by a model",
    ),
)
TEXT_RECIPES.register(
    "pruthi",
    RecipeSpec(
        build_pruthi,
        "one misspelling inside one word, best of all",
        "Pruthi et al., Combating Adversarial Misspellings with Robust Word Recognition, ACL 2019",
        "stop words stay",
    ),
)
TEXT_RECIPES.register(
    "kuleshov",
    RecipeSpec(
        build_kuleshov,
        "15 neighbours of word vectors, near mean vector, best of all",
        "Kuleshov et al., Adversarial Examples for Natural Language Classification Problems, 2018",
        "ends at a change of class, not at a probability of 0.7; no-lm: no language model",
        ("counter-fitted", "language-model"),
    ),
)
