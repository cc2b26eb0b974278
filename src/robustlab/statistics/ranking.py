"""Detection of unknown inputs by a score: area under precision and recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustlab.core.kinds import typed
from robustlab.statistics.estimate import Estimate, Real, Rows, beta_interval, bootstrap_variance


@dataclass(frozen=True)
class Detection:
    """Separation of unknown inputs from known ones."""

    aupr: Estimate
    """Average precision; n counts the unknown inputs and the known ones."""
    base_rate: float
    """Share of unknown inputs among all: the average precision of a score that knows nothing, about."""
    unknown: int
    known: int


@typed
def average_precision(score: Real, positive: NDArray[np.bool_]) -> float:
    """Area under the precision-recall curve, as a sum without interpolation.

        sum_t (recall_t - recall_(t-1)) precision_t   over thresholds t, from the highest score down

    Args:
        score: (N,); larger for expected positives. Equal scores form one threshold.
        positive: (N,).

    Raises: ValueError if the shapes differ, a score is NaN, or nothing is positive.
    """
    values, positives = np.asarray(score, np.float64), np.asarray(positive, bool)
    if values.ndim != 1 or values.shape != positives.shape or not positives.any() or np.isnan(values).any():
        raise ValueError(f"average precision needs a score and a verdict for each example and one positive at least, "
                         f"got {values.shape}, {positives.shape}, {int(positives.sum())} positive and "
                         f"{int(np.isnan(values).sum())} NaN")  # fmt: skip
    order = np.argsort(-values, kind="stable")
    return _average_precision(-values[order], positives[order])


@typed
def detection(unknown: Real, known: Real, *, seed: int = 0, level: float = 0.95) -> Detection:
    """Average precision of a score that should be larger for unknown inputs, with its interval.

    ImageNet-O uses it with minus the largest softmax probability over its 200 classes, 2,000 unknown images and the
    10,000 validation images of these classes; the base rate is then 16.67 %.

    Args:
        unknown: scores of the inputs that belong to no class (N,).
        known: scores of inputs that do (M,).
        seed: of the bootstrap (unknown and known apart), whose variance gives the interval.
        level: of the interval.
    """
    scores = np.concatenate([np.asarray(unknown, np.float64), np.asarray(known, np.float64)])
    positive = np.arange(scores.size) < len(unknown)
    value = average_precision(scores, positive)

    def statistic(rows: Rows) -> float:
        return average_precision(scores[rows], positive[rows])

    sizes = (len(unknown), len(known))
    variance = bootstrap_variance(statistic, sizes, seed=seed)
    interval = beta_interval(min(value, 1.0), variance, len(unknown), level=level)
    aupr = Estimate(interval.value, interval.low, interval.high, scores.size, level)
    return Detection(aupr, len(unknown) / scores.size, *sizes)


def _average_precision(falling: Real, positives: NDArray[np.bool_]) -> float:
    """Average precision of examples sorted by descending score, given as ascending minus scores."""
    ends = np.flatnonzero(np.r_[falling[1:] != falling[:-1], True])
    hits = np.cumsum(positives)[ends]
    precision = hits / (ends + 1)
    return float(np.diff(hits, prepend=0) @ precision / hits[-1])
