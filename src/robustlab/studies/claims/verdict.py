"""From what was measured with several seeds to a verdict: intervals by Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from robustlab.core.kinds import typed

Verdict: TypeAlias = Literal["reproduced", "not reproduced", "not enough evidence"]
FEWEST_SEEDS = 3
"""With fewer there is no verdict."""
LEVEL = 0.95


class TInterval(NamedTuple):
    """A mean and where the true one may lie."""

    mean: float
    low: float
    high: float


@typed
def t_interval(values: Sequence[float], level: float = LEVEL) -> TInterval:
    """The interval of the mean of normal draws.

        mean +- t s / sqrt(n),   t the (1 + level) / 2 quantile of Student's distribution with n - 1 degrees of freedom

    Args:
        values: one per seed.
        level: probability that the interval holds the true mean, in (0, 1).

    Returns: NaN and all numbers if a value is missing (NaN) or there is none; of a single value all numbers.
    Raises: ValueError for a level outside (0, 1).
    Source: Student, The Probable Error of a Mean, Biometrika 1908.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval must be in (0, 1), got {level}")
    n = len(values)
    mean = math.fsum(values) / n if n else math.nan
    if n < 2 or not math.isfinite(mean):
        return TInterval(mean if math.isfinite(mean) else math.nan, -math.inf, math.inf)
    from scipy.special import stdtrit

    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stdtrit(n - 1, (1 + level) / 2)) * spread / math.sqrt(n)
    return TInterval(mean, mean - half, mean + half)


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
