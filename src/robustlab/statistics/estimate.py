"""Estimates with intervals, other than plain fractions: weighted mean errors, and statistics with a variance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from robustlab.core.kinds import typed

Real = NDArray[np.float64]
Rows = NDArray[np.int64]

_DRAWS = 200  # of the bootstrap: the standard error is then known within about 5 %


@dataclass(frozen=True)
class Estimate:
    """An estimate from n examples, and its interval."""

    value: float
    low: float
    high: float
    n: int
    level: float = 0.95


@typed
def beta_interval(value: float, variance: float, n: int, *, most: float | None = None, level: float = 0.95) -> Estimate:
    """The interval of a statistic in [0, 1] that is as uncertain as a fraction of ``n_eff`` examples.

        n_eff = value (1 - value) / variance,   low, high = Clopper-Pearson's with value * n_eff of n_eff

    It stays in [0, 1], is not symmetric near the ends, and is Clopper and Pearson's own for the mean of 0-1 verdicts.
    At 0 and 1, where the variance is unknown, n_eff is n.

    Args:
        value: in [0, 1], or NaN.
        variance: of the statistic (the square of its standard error), >= 0.
        n: examples; of none the interval is all of [0, 1].
        most: upper limit of n_eff, as a small sample may show too little variance, or none; None: no limit.
        level: probability that the interval holds the true value, about.

    Raises: ValueError for an invalid value, variance, n or level.
    Source: Korn, Graubard, Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated
    from Survey Data, Survey Methodology 1998; without its correction for degrees of freedom.
    """
    from scipy.special import betaincinv

    if not (math.isnan(value) or 0 <= value <= 1) or variance < 0 or n < 0 or not 0 < level < 1:
        raise ValueError(f"no interval for {value} in [0, 1] with variance {variance} of {n} at level {level}")
    if n == 0 or math.isnan(value):
        return Estimate(math.nan, 0.0, 1.0, n, level)
    size = float(n) if value in (0.0, 1.0) else _effective(value, variance, most)
    if math.isinf(size):
        return Estimate(value, value, value, n, level)
    tail, hits = (1 - level) / 2, value * size
    low = float(betaincinv(hits, size - hits + 1, tail)) if value > 0 else 0.0
    high = float(betaincinv(hits + 1, size - hits, 1 - tail)) if value < 1 else 1.0
    return Estimate(value, low, high, n, level)


def _effective(value: float, variance: float, most: float | None) -> float:
    size = value * (1 - value) / variance if variance > 0 else math.inf
    return min(size, most if most is not None else math.inf)


@typed
def mean_interval(value: float, variance: float, n: int, reach: float, *, level: float = 0.95) -> Estimate:
    """Student's interval of a mean that may be of either sign, such as a difference of errors.

    Where all n examples agree, the variance is unknown; the interval then reaches as far as the mean if the fraction of
    examples that n equal verdicts cannot exclude were at the far end.

    Args:
        value: the mean, in [-reach, reach].
        variance: of the mean (the square of its standard error), with divisor n.
        n: examples, >= 1.
        reach: the largest absolute value of one example, > 0.
        level: probability that the interval holds the true mean, about.
    """
    from scipy.special import stdtrit

    if n < 1 or reach <= 0 or not 0 < level < 1:
        raise ValueError(f"no interval for the mean of {n} examples that reach {reach} at level {level}")
    if variance > 0 and n > 1:
        half = float(stdtrit(n - 1, (1 + level) / 2)) * math.sqrt(variance * n / (n - 1))
        return Estimate(value, max(value - half, -reach), min(value + half, reach), n, level)
    unseen = 1 - ((1 - level) / 2) ** (1 / n)
    return Estimate(value, value - unseen * (reach + value), value + unseen * (reach - value), n, level)


@typed
def bootstrap_variance(statistic: Callable[[Rows], float], sizes: tuple[int, ...], *, seed: int = 0) -> float:
    """Variance of a statistic over 200 samples drawn with replacement, each group of examples on its own.

    Args:
        statistic: function of the numbers of examples, ascending and with repetition.
        sizes: of the groups; examples are numbered from 0, group after group.
        seed: of the draws.
    """
    return float(np.array([statistic(rows) for rows in _resamples(sizes, seed)]).var())


@lru_cache(maxsize=1)
def _resamples(sizes: tuple[int, ...], seed: int) -> tuple[Rows, ...]:
    """The samples, kept for the next statistic of the same examples."""
    import torch

    from robustlab.core import Streams, fold_in

    starts = np.cumsum((0, *sizes))[:-1].tolist()
    samples = []
    for draw in range(_DRAWS):
        streams = Streams(fold_in(seed, draw), torch.arange(len(sizes)))
        groups = [
            streams[k : k + 1].integers(size, (size,))[0].numpy() + start
            for k, (size, start) in enumerate(zip(sizes, starts, strict=True))
        ]
        samples.append(np.sort(np.concatenate(groups)))
        samples[-1].flags.writeable = False
    return tuple(samples)
