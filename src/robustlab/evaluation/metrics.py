"""Shares with exact intervals, a paired test, and counters that take a batch at a time.

The counters hold counts only (``SpreadTally`` one number per example), so that any number of examples streams through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robustlab.core.kinds import typed
from robustlab.evaluation.record import ClassResult, Confusion, Interval, Spread

Whole = NDArray[np.int64]
Real = NDArray[np.float64]

_TINY = 1e-12


@typed
def clopper_pearson(count: int, n: int, level: float = 0.95) -> Interval:
    """The exact interval of a share.

        low: P(X >= count | low) = (1 - level) / 2,   high: P(X <= count | high) = (1 - level) / 2,   X binomial

    Args:
        count: successes, 0..n.
        n: trials, >= 0; of none the share is NaN and the interval all of [0, 1].
        level: probability that the interval holds the true share, at least.

    Returns: share and interval.
    Raises: ValueError if count is not in 0..n, or level not in (0, 1).
    Source: Clopper, Pearson, The Use of Confidence or Fiducial Limits, Biometrika 1934, by quantiles of the beta
    distribution.
    """
    from scipy.special import betaincinv

    if not 0 <= count <= n or not 0 < level < 1:
        raise ValueError(f"a share needs 0 <= count <= n and a level in (0, 1), got {count} of {n} at level {level}")
    tail = (1 - level) / 2
    low = float(betaincinv(count, n - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0
    return Interval(count / n if n else math.nan, low, high, count, n, level)


@typed
def mcnemar(only_a: int, only_b: int) -> float:
    """Exact McNemar test: are two paired verdicts equally often good?

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
    """Difference of two paired shares, b minus a, with Tango's score interval.

        { d : |only_b - only_a - n d| <= z sqrt(n (2 q(d) + d (1 - d))) }

    where q(d) is the most likely share of pairs that only a gets right if the difference is d, and z a quantile of the
    normal distribution. The number of discordant pairs is random, as it is when examples are drawn: an interval that
    takes it as given (from the binomial share of only_b among them) covers the difference too rarely. Of the intervals
    that do not, Tango's stays close to its level for small n and shares near 0 or 1 (Wald's does not, exact ones are
    far too wide), and leaves out 0 exactly where McNemar's test without correction rejects. The exact test, whose
    p-value stands beside it, is a little more careful: with few discordant pairs it may not reject yet.

    Args:
        only_a: examples that only the first gets right, >= 0.
        only_b: examples that only the second gets right, >= 0.
        n: all examples; of none the difference is NaN and the interval all of [-1, 1].
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


@typed
def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being several, in the order given.

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


@dataclass
class ShareTally:
    """How many of those seen are true."""

    count: int = 0
    n: int = 0

    def update(self, hits: NDArray[np.bool_]) -> None:
        """Adds verdicts (N,)."""
        self.count += int(hits.sum())
        self.n += hits.size

    def compute(self, level: float = 0.95) -> Interval:
        """The share so far with its exact interval."""
        return clopper_pearson(self.count, self.n, level)


@dataclass
class ClassTally:
    """Correct answers per class, before and under attack."""

    counts: Whole = field(default_factory=lambda: np.zeros((3, 0), np.int64))

    def update(self, labels: Whole, clean: NDArray[np.bool_], robust: NDArray[np.bool_]) -> None:
        """Adds examples: labels (N,), correct on x (N,), correct on x_adv too (N,)."""
        width = max(self.counts.shape[1], int(labels.max(initial=-1)) + 1)
        grown = np.zeros((3, width), np.int64)
        grown[:, : self.counts.shape[1]] = self.counts
        for row, chosen in enumerate((labels, labels[clean], labels[robust])):
            grown[row] += np.bincount(chosen, minlength=width)
        self.counts = grown

    def compute(self, names: Sequence[str]) -> tuple[ClassResult, ...]:
        """One result per class that occurred."""
        return tuple(
            ClassResult(k, names[k] if k < len(names) else str(k), n, clean, robust)
            for k, (n, clean, robust) in enumerate(self.counts.T.tolist())
            if n
        )


@dataclass
class ConfusionTally:
    """Which class was given which answer; only pairs that occur are held."""

    counts: dict[tuple[int, int], int] = field(default_factory=dict)

    def update(self, labels: Whole, predictions: Whole) -> None:
        """Adds examples: labels (N,) and predictions (N,), -1 where there is none."""
        pairs, counts = np.unique(np.stack([labels, predictions]), axis=1, return_counts=True)
        for true, predicted, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
            self.counts[true, predicted] = self.counts.get((true, predicted), 0) + count

    def compute(self) -> Confusion:
        """The pairs, sorted."""
        return Confusion(tuple((true, predicted, n) for (true, predicted), n in sorted(self.counts.items())))


@dataclass
class SpreadTally:
    """Mean, median and maximum; the median needs the numbers themselves, one per example."""

    parts: list[Real] = field(default_factory=list)

    def update(self, values: Real) -> None:
        """Adds numbers (N,)."""
        self.parts.append(values)

    def compute(self) -> Spread:
        """NaN for all three if there were none."""
        values = np.concatenate(self.parts) if self.parts else np.empty(0)
        if not values.size:
            return Spread(math.nan, math.nan, math.nan)
        return Spread(float(values.mean()), float(np.median(values)), float(values.max()))
