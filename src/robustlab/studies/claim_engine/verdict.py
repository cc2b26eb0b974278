"""Verdicts from the results of several seeds, by Student's t-intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from robustlab.statistics.intervals import t_interval

Verdict: TypeAlias = Literal["reproduced", "not reproduced", "not enough evidence"]
FEWEST_SEEDS = 3
"""Smallest number of seeds for a verdict."""
LEVEL = 0.95


def judged(values: Sequence[float], smallest: float, *, among: int = 1, level: float = LEVEL) -> Verdict:
    """Verdict of the seeds on one effect.

    *Reproduced* only if the interval holds nothing smaller than the smallest effect that counts; *not reproduced* if it
    holds nothing as large; else there is *not enough evidence*.

    Args:
        values: the effect, one per seed, paired by seed where it compares two arms.
        smallest: effect that counts, fixed before the first run.
        among: number of effects of the claim. It needs all of them, so each is confirmed at the plain level; a single
            missing one refutes it, so each is refuted at a level divided by their number.
        level: of the interval, two-sided.
    """
    if len(values) < FEWEST_SEEDS:
        return "not enough evidence"
    if t_interval(values, level).low >= smallest:
        return "reproduced"
    if t_interval(values, 1 - (1 - level) / among).high < smallest:
        return "not reproduced"
    return "not enough evidence"


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim from those on its effects: it needs all of them; a single missing one refutes it."""
    if "not reproduced" in verdicts:
        return "not reproduced"
    if verdicts and all(verdict == "reproduced" for verdict in verdicts):
        return "reproduced"
    return "not enough evidence"
