"""Completeness: the values of a map add up to the change of score that the method promises to share out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.explain.checks.registry import CHECKS, CheckOutcome, CheckSpec, CheckSubject, serious, warning

_CODE = "completeness-violated"
_ROWS = 0.1
"""Share of the examples that may be off: at a few the change of score is small by chance."""
_SERIOUS = 0.25
"""Median gap, as a share of the change of score, from which maps are of another thing than they say."""


@typed
@dataclass(frozen=True)
class Completeness:
    """Finding for values that do not add up to the change of score, for methods with ``change``.

    An example is off if its gap is above ``share`` of its change of score, or of the median change if that is larger.

    Args:
        share: of the change that may be missing, above 0.
    """

    share: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.share < math.inf:
            raise ValueError(f"share must be above 0 and finite, got {self.share}")

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        """Outcome without a curve."""
        gap, change = subject.made.gap, subject.made.change
        if gap is None or change is None:
            return CheckOutcome(skipped="the method promises no sum of its values")
        size = change.double().abs()
        part = gap.abs() / size.clamp_min(max(float(size.median()), 1e-30))
        off, n = int((part > self.share).sum()), len(part)
        if off <= _ROWS * n:
            return CheckOutcome()
        median = float(part.median())
        evidence: Evidence = {"off": off, "n": n, "median gap": median, "largest gap": float(part.max())}
        return (serious if median > _SERIOUS else warning)(
            _CODE,
            f"Values add up to another number than the change of score at {off} of {n} examples (median gap "
            f"{median:.0%} of it).",
            evidence,
            "Take more steps; a gap that stays with ten times as many is a wrong baseline or a gradient that is not "
            "that of the score.",
        )


CHECKS.register(_CODE, CheckSpec(Completeness, "values do not add up to the change of score"))
