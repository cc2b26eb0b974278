"""Step rules of the attack, each with its first learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from robustlab.attacks import PGD, SGD, Adagrad, Adam, OptimizerPGD, RMSprop
from robustlab.attacks.steps import Optimizer
from robustlab.core import Attack, ThreatModel
from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.studies.sweep.rates import rate

PER_DECADE = 3
"""Learning rates in a factor of ten."""
WIDTH = 2
"""Factors of ten that the search begins with."""


@dataclass(frozen=True)
class Rule:
    """A step rule of PGD.

    Args:
        name: in file names.
        title: in tables.
        make: from threat model, number of steps and learning rate to an attack.
        first: the lowest rate of the first grid, in units of eps.
    """

    name: str
    title: str
    make: Callable[[ThreatModel, int, float], Attack]
    first: float

    def places(self, threat: ThreatModel) -> range:
        """First places of the search for a learning rate."""
        if not isinstance(threat.eps, float) or not threat.eps > 0:
            raise ValueError(f"a sweep needs one eps > 0 for all images, got {threat.eps}")
        lowest = round(PER_DECADE * math.log10(self.first * threat.eps))
        return range(lowest, lowest + PER_DECADE * WIDTH + 1)

    def attack(self, threat: ThreatModel, steps: int, place: int) -> Attack:
        """The attack with the learning rate at a place of the grid."""
        return self.make(threat, steps, rate(place, PER_DECADE))


def _driven(optimizer: Callable[[float], Optimizer]) -> Callable[[ThreatModel, int, float], Attack]:
    """PGD with an optimizer at a learning rate."""
    return lambda threat, steps, lr: OptimizerPGD(threat, optimizer(lr), steps)


SIGN = Rule("sign", "sign rule", lambda threat, steps, lr: PGD(threat, steps, lr), 0.01)
"""Baseline of the comparison: steps of steepest ascent, for Linf along the sign of the gradient."""
RULES = (
    SIGN,
    Rule("sgd", "SGD", _driven(SGD), 10.0),
    Rule("momentum", "SGD, momentum 0.9", _driven(lambda lr: SGD(lr, 0.9)), 1.0),
    Rule("adam", "Adam", _driven(Adam), 0.01),
    Rule("rmsprop", "RMSprop", _driven(RMSprop), 0.01),
    Rule("adagrad", "Adagrad", _driven(Adagrad), 0.01),
)
"""Rules of the published comparison.

Moves of the adaptive ones are about as long as their rate, those of SGD follow the gradient.
"""
STEP_RULES: Registry[Rule] = Registry("step rule", group="robustlab.step_rules")
"""All rules that a sweep compares: the published ones, then those that were added."""


@typed
def register_rule(rule: Rule) -> None:
    """Adds a step rule to every new sweep of attackers.

    Raises: ValueError if its name is taken.
    """
    STEP_RULES.register(rule.name, rule)


for _rule in RULES:
    register_rule(_rule)
