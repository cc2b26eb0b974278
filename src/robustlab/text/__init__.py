"""Attacks on text classifiers: goal, transformations, constraints and search, each a value."""

from robustlab.text.beam import Beam
from robustlab.text.constraints import (
    AgainstBefore,
    EditDistance,
    KeepOpinion,
    Likelihood,
    MeanVector,
    MinLength,
    MostChanged,
    NoRepeat,
    PartOfSpeech,
    Similarity,
    StopWords,
    WordCosine,
    WordDistance,
    WordEdits,
)
from robustlab.text.coordinate import GreedyCoordinate
from robustlab.text.driver import Driver, Spent
from robustlab.text.encoder import SentenceEncoder, encoder_in, minilm_bound
from robustlab.text.genetic import Genetic
from robustlab.text.goals import KeepPrediction, Targeted, Untargeted
from robustlab.text.greedy import Greedy
from robustlab.text.opinion import OpinionWords, opinion_words_in
from robustlab.text.outcome import AttackSettings, TextOutcome, attack
from robustlab.text.parts import Change, Scored, TextRecipe, WordTable
from robustlab.text.recipes import TEXT_RECIPES, RecipeRow, RecipeSpec, recipe, recipe_table
from robustlab.text.spelling import Speller
from robustlab.text.stop_words import stop_words
from robustlab.text.swarm import Swarm
from robustlab.text.tagger import Tagger, tagger_in
from robustlab.text.task import Task
from robustlab.text.transformations import (
    ChangeName,
    ChangeNumber,
    Contract,
    DeleteCharacter,
    DeleteWord,
    ErasedCharacters,
    Expand,
    GradientSwaps,
    Homoglyphs,
    InsertCharacter,
    InvisibleCharacters,
    KeyboardNeighbours,
    MaskedModel,
    Neighbours,
    OneOf,
    Reorderings,
    SubstituteCharacter,
    SwapNeighbours,
    Synonyms,
)
from robustlab.text.vectors import Vectors, vectors_in
from robustlab.text.victims import PaddingFaults, Victim, WordGradients, beyond, padding_faults, victim
from robustlab.text.wordnet import WordNet, wordnet_in
from robustlab.text.words import Words, cut

__all__ = [
    "TEXT_RECIPES", "AgainstBefore", "AttackSettings", "Beam", "Change", "ChangeName", "ChangeNumber", "Contract",
    "DeleteCharacter", "DeleteWord", "Driver", "EditDistance", "ErasedCharacters", "Expand", "Genetic",
    "GradientSwaps", "Greedy", "GreedyCoordinate", "Homoglyphs", "InsertCharacter", "InvisibleCharacters",
    "KeepOpinion", "KeepPrediction", "KeyboardNeighbours", "Likelihood", "MaskedModel", "MeanVector", "MinLength",
    "MostChanged", "Neighbours", "NoRepeat", "OneOf", "OpinionWords", "PaddingFaults", "PartOfSpeech", "RecipeRow",
    "RecipeSpec", "Reorderings", "Scored", "SentenceEncoder", "Similarity", "Speller", "Spent", "StopWords",
    "SubstituteCharacter", "SwapNeighbours", "Swarm", "Synonyms", "Tagger", "Targeted", "Task", "TextOutcome",
    "TextRecipe", "Untargeted", "Vectors", "Victim", "WordCosine", "WordDistance", "WordEdits", "WordGradients",
    "WordNet", "WordTable", "Words", "attack", "beyond", "cut", "encoder_in", "minilm_bound", "opinion_words_in",
    "padding_faults", "recipe", "recipe_table", "stop_words", "tagger_in", "vectors_in", "victim", "wordnet_in",
]  # fmt: skip
