"""Attacks on text classifiers: goal, transformations, constraints and search, each a value."""

from robustlab.text.beam import Beam
from robustlab.text.coordinate import GreedyCoordinate
from robustlab.text.driver import Driver, Spent
from robustlab.text.genetic import Genetic
from robustlab.text.goals import KeepPrediction, Targeted, Untargeted
from robustlab.text.greedy import Greedy
from robustlab.text.outcome import AttackSettings, TextOutcome, attack
from robustlab.text.parts import Change, Scored, TextRecipe, WordTable
from robustlab.text.spelling import Speller
from robustlab.text.swarm import Swarm
from robustlab.text.task import Task
from robustlab.text.victims import Victim, WordGradients, victim
from robustlab.text.words import Words, cut

__all__ = [
    "AttackSettings", "Beam", "Change", "Driver", "Genetic", "Greedy", "GreedyCoordinate", "KeepPrediction",
    "Scored", "Speller", "Spent", "Swarm", "Targeted", "Task", "TextOutcome", "TextRecipe", "Untargeted", "Victim",
    "WordGradients", "WordTable", "Words", "attack", "cut", "victim",
]  # fmt: skip
