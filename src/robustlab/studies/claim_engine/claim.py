"""Claims: a statement, the paper's number, an experiment, and the smallest effects that count, fixed before a run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from robustlab.core import Metrics
from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.studies.claim_engine.budget import Budget
from robustlab.studies.claim_engine.definition import fingerprint
from robustlab.studies.claim_engine.measures import Measure
from robustlab.studies.claim_engine.network import Fitted, Learner
from robustlab.studies.claim_engine.verdict import FEWEST_SEEDS

LONGEST = 30.0
"""Minutes that one arm may take for one seed, on two cores."""
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Term(NamedTuple):
    """A number of one arm."""

    arm: str
    metric: str


@dataclass(frozen=True)
class Effect:
    """A number that a claim expects to be large, or its difference from another, or their ratio.

        of >= smallest;   of - over >= smallest;   of / over >= smallest for a ratio

    Args:
        what: the same in words.
        of: the number.
        over: the number of the same seed that it is compared with; None: no comparison.
        smallest: the smallest effect that counts; below 0, the largest deficit that is allowed.
        ratio: the two are divided; both are positive, and seeds are averaged by their logarithms.
    """

    what: str
    of: Term
    over: Term | None = None
    smallest: float = 0.0
    ratio: bool = False

    @property
    def bar(self) -> float:
        """The smallest effect on the scale that seeds are averaged on."""
        return math.log(self.smallest) if self.ratio else self.smallest

    def value(self, measured: Mapping[str, Metrics]) -> float:
        """The effect with one seed, on that scale, from the metrics by arm; NaN if a number is missing."""
        of = measured.get(self.of.arm, {}).get(self.of.metric, math.nan)
        if self.over is None:
            return of
        over = measured.get(self.over.arm, {}).get(self.over.metric, math.nan)
        if not self.ratio:
            return of - over
        return math.log(of / over) if of > 0 and over > 0 else math.nan

    def plain(self, value: float) -> float:
        """A value of that scale as a plain number."""
        return math.exp(min(value, 700.0)) if self.ratio else value

    def essence(self) -> tuple[Term, Term | None, float, bool]:
        """All fields except the words."""
        return self.of, self.over, self.smallest, self.ratio


@dataclass(frozen=True)
class Arm:
    """One of the networks that a claim compares.

    Args:
        name: unique in its claim.
        network: its network and training.
        early: take the best weights by held-out images, which needs ``watch`` of the network; False: the last.
    """

    name: str
    network: Learner | Fitted
    early: bool = False


@dataclass(frozen=True)
class Claim:
    """A statement of the literature that a computer can check.

    Args:
        name: in file names and on the command line.
        statement: one sentence.
        paper: its source.
        published: the paper's number with its setting.
        ours: how our experiment differs: data, network, budget.
        arms: the networks; all measured in the same way.
        measures: functions that measure each.
        effects: the expected effects, fixed before the first run; the claim needs all of them.
        minutes: of all arms with one seed, on two cores; an estimate.
        seeds: their number, at least 3.

    Raises: ValueError for a claim that could not be judged.
    """

    name: str
    statement: str
    paper: str
    published: str
    ours: str
    arms: tuple[Arm, ...]
    measures: tuple[Measure, ...]
    effects: tuple[Effect, ...]
    minutes: float
    seeds: int = FEWEST_SEEDS

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not all(_NAME.fullmatch(name) for name in (self.name, *names)) or len(set(names)) < len(names):
            raise ValueError(f"{self.name!r}: a claim and its arms need names of small letters, all different: {names}")
        if self.seeds < FEWEST_SEEDS:
            raise ValueError(f"{self.name}: a verdict needs {FEWEST_SEEDS} seeds or more, got {self.seeds}")
        if self.minutes > LONGEST * len(self.arms):
            raise ValueError(f"{self.name}: {len(names)} arms would take {self.minutes:g} minutes a seed, too long")
        if not self.effects:
            raise ValueError(f"{self.name}: a claim needs at least one effect")
        for effect in self.effects:
            unknown = {term.arm for term in (effect.of, effect.over) if term} - set(names)
            if unknown:
                raise ValueError(f"{self.name}: {effect.what!r} names {', '.join(sorted(unknown))}, not an arm")
            if effect.ratio and not effect.smallest > 0:
                raise ValueError(f"{self.name}: the smallest ratio must be positive, got {effect.smallest}")

    def definition(self, arm: Arm, budget: Budget) -> str:
        """A hash of everything that decides the result of one arm, and of the expected effects.

        A result counts for this hash alone, so neither the experiment nor its effects can change afterwards.
        """
        return fingerprint(arm, self.measures, tuple(effect.essence() for effect in self.effects), budget)


class Placed(NamedTuple):
    """A claim and its place among all."""

    place: int
    claim: Claim


CATALOGUE: Registry[Placed] = Registry("claim", group="robustlab.claims")
"""All claims by name."""


@typed
def register_claim(claim: Claim, *, place: int = 1000) -> Claim:
    """Adds a claim to those that ``robustlab reproduce`` knows.

    Args:
        claim: with a name of its own.
        place: position among all claims, which are shown by ascending place, then name.

    Returns: the claim.
    Raises: ValueError if another claim has that name.
    """
    return CATALOGUE.register(claim.name, Placed(place, claim)).claim


def by_place(placed: Iterable[Placed]) -> tuple[Claim, ...]:
    """Claims in the order of their places."""
    return tuple(one.claim for one in sorted(placed, key=lambda one: (one.place, one.claim.name)))
