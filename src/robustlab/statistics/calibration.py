"""Calibration of confidence: RMS calibration error as published and corrected, and AURRA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustlab.core.kinds import typed
from robustlab.statistics.estimate import Estimate, Real, Rows, beta_interval, bootstrap_variance

BIN = 100
"""Examples in a bin; the last takes the remainder as well."""


@dataclass(frozen=True)
class Calibration:
    """RMS calibration error in two versions, both in [0, 1]."""

    published: Estimate | None
    """As in the code of ImageNet-A, which leaves out the most confident bin; None: there is no other."""
    corrected: Estimate
    """Over all bins."""
    chance: float
    """Corrected error by chance alone, for a perfectly calibrated model with these confidences: bins of 100 examples
    are small, so the measured error is never 0."""


@typed
def rms_calibration_error(confidence: Real, correct: NDArray[np.bool_], *, drop_last: bool = False) -> float:
    """Root of the mean squared difference of confidence and accuracy, over bins of examples of similar confidence.

        sqrt( sum_b n_b / n (mean confidence of b - accuracy of b)^2 )

    Examples are sorted by confidence and cut into n // 100 bins of 100, of which the last takes the remainder too.
    Examples of equal confidence share their accuracy, so that their order does not matter.

    Args:
        confidence: of the prediction (N,), in [0, 1].
        correct: True where it is right (N,).
        drop_last: leaves out the most confident bin (but not its examples from n), as the released code does; NaN if
            there is no other.

    Raises: ValueError if the two do not fit, or confidences are not in [0, 1].
    Source: Hendrycks, Zhao, Basart, Steinhardt, Song, Natural Adversarial Examples, CVPR 2021, and its released code.
    """
    return _rms(*_sorted(confidence, correct), drop_last=drop_last)


@typed
def calibration(confidence: Real, correct: NDArray[np.bool_], *, seed: int = 0, level: float = 0.95) -> Calibration:
    """RMS calibration error as published and corrected, with intervals.

    The intervals use the bootstrap's variance over images. They hold the mean value for samples of this size, which is
    larger than the limit of finer bins on more images; compare it with ``chance``.

    Args:
        confidence: of the prediction (N,), in [0, 1].
        correct: True where it is right (N,).
        seed: of the bootstrap.
        level: of the intervals.
    """
    ordered, right = _sorted(confidence, correct)

    def estimated(*, drop_last: bool) -> Estimate:
        def statistic(rows: Rows) -> float:
            return _rms(ordered[rows], right[rows], drop_last=drop_last)

        variance = bootstrap_variance(statistic, (ordered.size,), seed=seed)
        return beta_interval(_rms(ordered, right, drop_last=drop_last), variance, ordered.size, level=level)

    published = estimated(drop_last=True) if ordered.size >= 2 * BIN else None
    spread = ordered * (1 - ordered)
    chance = sum(float(spread[part].sum()) / spread[part].size for part in _bins(ordered.size)) / ordered.size
    return Calibration(published, estimated(drop_last=False), float(np.sqrt(chance)))


@typed
def aurra(confidence: Real, correct: NDArray[np.bool_], *, seed: int = 0, level: float = 0.95) -> Estimate:
    """Area under the response rate accuracy curve: separation of right from wrong by confidence.

        1/n sum_k (accuracy on the k most confident examples)

    The curve of a model that abstains on its least confident examples. Examples of equal confidence share their
    accuracy, so that their order does not matter.

    Args:
        confidence: of the prediction (N,), in [0, 1].
        correct: True where it is right (N,).
        seed: of the bootstrap, whose variance gives the interval.
        level: of the interval.

    Source: Hendrycks, Zhao, Basart, Steinhardt, Song, Natural Adversarial Examples, CVPR 2021.
    """
    ordered, right = _sorted(confidence, correct)
    variance = bootstrap_variance(lambda rows: _area(ordered[rows], right[rows]), (ordered.size,), seed=seed)
    return beta_interval(_area(ordered, right), variance, ordered.size, level=level)


def _sorted(confidence: Real, correct: NDArray[np.bool_]) -> tuple[Real, Real]:
    """Both by ascending confidence."""
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    if sure.ndim != 1 or sure.shape != right.shape or not sure.size:
        raise ValueError(f"confidences of shape {sure.shape} and verdicts of shape {right.shape}: give one of each "
                         "for every example")  # fmt: skip
    if not (sure.min() >= 0 and sure.max() <= 1):
        raise ValueError(f"confidences lie in [{sure.min():g}, {sure.max():g}], expected probabilities in [0, 1]")
    order = np.argsort(sure, kind="stable")
    return sure[order], right[order]


def _bins(n: int) -> list[slice]:
    count = max(1, n // BIN)
    return [slice(k * BIN, (k + 1) * BIN if k < count - 1 else n) for k in range(count)]


def _rms(ordered: Real, right: Real, *, drop_last: bool) -> float:
    bins = _bins(ordered.size)
    kept = bins[:-1] if drop_last else bins
    if not kept:
        return float("nan")
    gap = ordered - _shared(ordered, right)
    squares = [float(gap[part].sum()) ** 2 / gap[part].size for part in kept]
    return float(np.sqrt(sum(squares) / ordered.size))


def _area(ordered: Real, right: Real) -> float:
    hits = np.cumsum(_shared(ordered, right)[::-1])
    return min(1.0, float(np.mean(hits / np.arange(1, hits.size + 1))))


def _shared(ordered: Real, right: Real) -> Real:
    """Accuracy among the examples of the same confidence, for each example."""
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, ordered.size])
    return np.repeat(np.add.reduceat(right, starts) / sizes, sizes)
