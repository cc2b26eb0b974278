"""Tests and intervals for two verdicts or numbers of the same examples, and the correction for several tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from robustlab.core.kinds import typed
from robustlab.statistics.estimate import Estimate
from robustlab.statistics.intervals import t_interval

_TINY = 1e-12


@typed
def mcnemar(only_a: int, only_b: int) -> float:
    """Exact McNemar test of two paired verdicts being right equally often.

        p = min(1, 2 P(X <= min(only_a, only_b))),   X binomial(only_a + only_b, 1/2)

    Args:
        only_a: examples that only the first gets right.
        only_b: examples that only the second gets right.

    Returns: two-sided p-value; 1 if there is no such example.
    """
    from scipy.special import bdtr

    if min(only_a, only_b) < 0:
        raise ValueError(f"counts must be >= 0, got {only_a} and {only_b}")
    n = only_a + only_b
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), n, 0.5))) if n else 1.0


@typed
def paired_difference(only_a: int, only_b: int, n: int, level: float = 0.95) -> tuple[float, float, float]:
    """Difference of two paired fractions, b minus a, with Tango's score interval.

        { d : |only_b - only_a - n d| <= z sqrt(n (2 q(d) + d (1 - d))) }

    where q(d) is the most likely fraction of pairs that only a gets right if the difference is d, and z a quantile of
    the normal distribution. The number of discordant pairs is random, as examples are drawn: an interval for a fixed
    number (from the binomial fraction of only_b among them) covers the difference too rarely. Among unconditional
    intervals, Tango's stays close to its level for small n and fractions near 0 or 1 (Wald's does not, exact ones are
    far too wide), and excludes 0 exactly where McNemar's test without correction rejects. The exact test, whose p-value
    is reported with it, is more conservative: with few discordant pairs it may not reject yet.

    Args:
        only_a: examples that only the first gets right, >= 0.
        only_b: examples that only the second gets right, >= 0.
        n: number of examples; for 0 the difference is NaN and the interval all of [-1, 1].
        level: probability that the interval holds the true difference, about.

    Returns: difference, low, high.
    Raises: ValueError if the counts do not fit n, or level is not in (0, 1).
    Source: Tango, Equivalence Test and Confidence Interval for the Difference in Proportions for the Paired-Sample
    Design, Statistics in Medicine 1998; compared in Newcombe, Improved Confidence Intervals for the Difference between
    Binomial Proportions Based on Paired Data, ibid.
    """
    from scipy.special import ndtri

    if min(only_a, only_b, n - only_a - only_b) < 0 or not 0 < level < 1:
        raise ValueError(f"counts must be >= 0 and fit n, got {only_a} and {only_b} of {n} at level {level}")
    if n == 0:
        return math.nan, -1.0, 1.0
    z = float(ndtri((1 + level) / 2))
    return (only_b - only_a) / n, -_furthest(only_b, only_a, n, z), _furthest(only_a, only_b, n, z)


def _furthest(fewer: int, more: int, n: int, z: float) -> float:
    """The upper end of the interval of (more - fewer) / n, by bisection."""
    value = (more - fewer) / n

    def outside(d: float) -> bool:
        b = -fewer - more + (2 * n - more + fewer) * d
        q = (math.sqrt(max(b * b + 8 * n * fewer * d * (1 - d), 0.0)) - b) / (4 * n)
        return n * d - (more - fewer) > z * math.sqrt(max(n * (2 * q + d * (1 - d)), 0.0))

    low, high = value, 1.0
    if not outside(1 - _TINY):
        return 1.0
    while high - low > _TINY:
        middle = (low + high) / 2
        low, high = (low, middle) if outside(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class PairedMeans:
    """Difference of the means of two numbers of the same examples."""

    difference: Estimate
    """Second less first, with its interval."""
    p: float
    """Two-sided p-value of no difference."""


@typed
def paired_means(first: Sequence[float], second: Sequence[float], *, level: float = 0.95) -> PairedMeans:
    """Paired t-test of two numbers of the same examples having equal means.

        t = mean(d) sqrt(n) / s(d),   d_i = second_i - first_i,   p = P(|T| >= |t|), T Student's with n - 1 degrees

    The interval excludes 0 exactly where p is below 1 - level.

    Args:
        first: one number per example, finite.
        second: of the same examples in the same order.
        level: of the interval.

    Returns: with fewer than two examples the interval is infinite, and p is 1. Where all differences are the same, p is
        0, or 1 if they are 0.
    Raises: ValueError for other numbers of examples, or values that are not finite.
    Source: Student, The Probable Error of a Mean, Biometrika 1908.
    """
    from scipy.special import stdtr

    if len(first) != len(second) or not all(map(math.isfinite, (*first, *second))):
        raise ValueError(
            f"a paired test needs two finite numbers of each example, got {len(first)} and {len(second)}, "
            f"{sum(not math.isfinite(value) for value in (*first, *second))} of them not finite"
        )
    differences, n = [b - a for a, b in zip(first, second, strict=True)], len(first)
    mean, low, high = t_interval(differences, level)
    difference = Estimate(mean, low, high, n, level)
    if n < 2:
        return PairedMeans(difference, 1.0)
    error = math.sqrt(math.fsum((one - mean) ** 2 for one in differences) / (n - 1) / n)
    if error == 0:
        return PairedMeans(difference, float(mean == 0))
    return PairedMeans(difference, 2 * float(stdtr(n - 1, -abs(mean) / error)))


@typed
def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for multiple tests, in the given order.

        the k-th smallest of m becomes  max over j <= k of  min(1, (m - j + 1) p_(j))

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    m, largest, corrected = len(p_values), 0.0, [1.0] * len(p_values)
    for rank, place in enumerate(sorted(range(m), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (m - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
