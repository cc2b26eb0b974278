"""From what was measured with several seeds to a verdict: intervals by Student's t."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from robustlab.statistics.intervals import t_interval

Verdict: TypeAlias = Literal["reproduced", "not reproduced", "not enough evidence"]
FEWEST_SEEDS = 3
"""With fewer there is no verdict."""
LEVEL = 0.95


def judged(values: Sequence[float], smallest: float, *, among: int = 1, level: float = LEVEL) -> Verdict:
    """What the seeds say of one effect.

    *Reproduced* only if the interval holds nothing smaller than the smallest effect that counts; *not reproduced* if it
    holds nothing as large; else there is *not enough evidence*.

    Args:
        values: the effect, one per seed, paired by seed where it compares two arms.
        smallest: effect that counts, written down before anything was run.
        among: how many effects a claim has. All have to be there, so that each may be shown at the plain level; one
            that is missing refutes the claim, so that each is refuted at a level that is stricter as many times.
        level: of the interval, two-sided.
    """
    if len(values) < FEWEST_SEEDS:
        return "not enough evidence"
    if t_interval(values, level).low >= smallest:
        return "reproduced"
    if t_interval(values, 1 - (1 - level) / among).high < smallest:
        return "not reproduced"
    return "not enough evidence"


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim from those on its effects: all must be there; one that is not refutes it."""
    if "not reproduced" in verdicts:
        return "not reproduced"
    if verdicts and all(verdict == "reproduced" for verdict in verdicts):
        return "reproduced"
    return "not enough evidence"
