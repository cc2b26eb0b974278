"""Attacks on text classifiers: goal, transformations, constraints and search, each a value."""

from robustlab.text.beam import Beam
from robustlab.text.coordinate import GreedyCoordinate
from robustlab.text.driver import Driver, Spent
from robustlab.text.encoder import SentenceEncoder, encoder_in
from robustlab.text.genetic import Genetic
from robustlab.text.goals import KeepPrediction, Targeted, Untargeted
from robustlab.text.greedy import Greedy
from robustlab.text.opinion import OpinionWords, opinion_words_in
from robustlab.text.outcome import AttackSettings, TextOutcome, attack
from robustlab.text.parts import Change, Scored, TextRecipe, WordTable
from robustlab.text.spelling import Speller
from robustlab.text.stop_words import stop_words
from robustlab.text.swarm import Swarm
from robustlab.text.tagger import Tagger, tagger_in
from robustlab.text.task import Task
from robustlab.text.vectors import Vectors, vectors_in
from robustlab.text.victims import Victim, WordGradients, victim
from robustlab.text.wordnet import WordNet, wordnet_in
from robustlab.text.words import Words, cut

__all__ = [
    "AttackSettings", "Beam", "Change", "Driver", "Genetic", "Greedy", "GreedyCoordinate", "KeepPrediction",
    "OpinionWords", "Scored", "SentenceEncoder", "Speller", "Spent", "Swarm", "Tagger", "Targeted", "Task",
    "TextOutcome", "TextRecipe", "Untargeted", "Vectors", "Victim", "WordGradients", "WordNet", "WordTable", "Words",
    "attack", "cut", "encoder_in", "opinion_words_in", "stop_words", "tagger_in", "vectors_in", "victim",
    "wordnet_in",
]  # fmt: skip
