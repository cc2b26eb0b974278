"""Intervals of a fraction and of a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from robustlab.core.kinds import typed


@dataclass(frozen=True)
class Interval:
    """A fraction ``count / n`` and its exact (Clopper-Pearson) interval."""

    value: float
    low: float
    high: float
    count: int
    n: int
    level: float = 0.95


@typed
def clopper_pearson(count: int, n: int, level: float = 0.95) -> Interval:
    """The exact interval of a fraction.

        low: P(X >= count | low) = (1 - level) / 2,   high: P(X <= count | high) = (1 - level) / 2,   X binomial

    Args:
        count: successes, 0..n.
        n: trials, >= 0; for 0 the fraction is NaN and the interval all of [0, 1].
        level: probability that the interval holds the true fraction, at least.

    Returns: fraction and interval.
    Raises: ValueError if count is not in 0..n, or level not in (0, 1).
    Source: Clopper, Pearson, The Use of Confidence or Fiducial Limits, Biometrika 1934, by quantiles of the beta
    distribution.
    """
    from scipy.special import betaincinv

    if not 0 <= count <= n or not 0 < level < 1:
        raise ValueError(f"a fraction needs 0 <= count <= n and a level in (0, 1), got {count} of {n} at level {level}")
    tail = (1 - level) / 2
    low = float(betaincinv(count, n - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0
    return Interval(count / n if n else math.nan, low, high, count, n, level)


class TInterval(NamedTuple):
    """A mean and its interval."""

    mean: float
    low: float
    high: float


@typed
def t_interval(values: Sequence[float], level: float = 0.95) -> TInterval:
    """The interval of the mean of normal draws.

        mean +- t s / sqrt(n),   t the (1 + level) / 2 quantile of Student's distribution with n - 1 degrees of freedom

    Args:
        values: one per seed.
        level: probability that the interval holds the true mean, in (0, 1).

    Returns: NaN with an infinite interval if a value is missing (NaN) or there is none; a single value has an infinite
        interval.
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
