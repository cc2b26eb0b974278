"""Comparison of optimizers: as step rules of PGD, and for training."""

from robustlab.studies.sweep.attackers import QUICK_SPEND, SEEDS, Spend, attackers, fooled_after, known_attackers
from robustlab.studies.sweep.optimizers import (
    OPTIMIZERS,
    REGIMES,
    OptimizerSpec,
    Regime,
    register_optimizer,
    register_regime,
)
from robustlab.studies.sweep.outcome import Attackers, Compared, Swept
from robustlab.studies.sweep.rules import RULES, Rule, register_rule
from robustlab.studies.sweep.subject import SUBJECTS, Given, Own, Subject
from robustlab.studies.sweep.trainers import Taught, Trainers, known_trainers, trainers

__all__ = [
    "OPTIMIZERS", "QUICK_SPEND", "REGIMES", "RULES", "SEEDS", "SUBJECTS", "Attackers", "Compared", "Given",
    "OptimizerSpec", "Own", "Regime", "Rule", "Spend", "Subject", "Swept", "Taught", "Trainers", "attackers",
    "fooled_after", "known_attackers", "known_trainers", "register_optimizer", "register_regime", "register_rule",
    "trainers",
]  # fmt: skip
