"""Attacks on text classifiers: goal, transformations, constraints and search, each a value."""

from robustlab.text.driver import Driver, Spent
from robustlab.text.goals import KeepPrediction, Targeted, Untargeted
from robustlab.text.greedy import Greedy
from robustlab.text.outcome import AttackSettings, TextOutcome, attack
from robustlab.text.parts import Change, Scored, TextRecipe, WordTable
from robustlab.text.task import Task
from robustlab.text.victims import Victim, WordGradients, victim
from robustlab.text.words import Words, cut

__all__ = [
    "AttackSettings", "Change", "Driver", "Greedy", "KeepPrediction", "Scored", "Spent", "Targeted", "Task",
    "TextOutcome", "TextRecipe", "Untargeted", "Victim", "WordGradients", "WordTable", "Words", "attack", "cut",
    "victim",
]  # fmt: skip
