"""Determinism: two maps of one input by one seed are the same."""

from __future__ import annotations

from dataclasses import dataclass

from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.core.modes import frozen, seed_generators
from robustlab.explain.checks.batch import moved, tolerance
from robustlab.explain.checks.registry import CHECKS, CheckOutcome, CheckSpec, CheckSubject, serious
from robustlab.explain.maps import Maps

_CODE = "random-map"


@typed
@dataclass(frozen=True)
class Determinism:
    """Finding for maps that differ between two calls with one seed, while the global generators stand elsewhere.

    Args:
        images: number of examples.
    """

    images: int = 8

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        """Outcome without a curve."""
        few = subject[: self.images]
        one, other = (_seeded(few, seed) for seed in (1, 2))
        change = moved(one.values, other.values)
        off, n = int((change > tolerance(one.values)).sum()), len(few)
        if not off:
            return CheckOutcome()
        evidence: Evidence = {"moved": off, "n": n, "median change": float(change.median())}
        return serious(
            _CODE,
            f"Two maps of one input by one seed differ at {off} of {n} examples (by {float(change.median()):.0%}).",
            evidence,
            "Put the network in evaluation mode (dropout is random), and let the method draw from case.streams, not "
            "from the global generator.",
        )


def _seeded(subject: CheckSubject, seed: int) -> Maps:
    with frozen(subject.model):
        seed_generators(seed)
        return subject.again()


CHECKS.register(
    _CODE,
    CheckSpec(
        Determinism,
        "maps differ between two calls",
        ("batch-dependent", "completeness-violated", "baseline-sensitive"),
    ),
)
