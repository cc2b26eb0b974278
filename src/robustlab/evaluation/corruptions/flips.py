"""Flip rates: frequency of changed predictions along a sequence of frames that hardly differ, as in ImageNet-P."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustlab.core.kinds import typed
from robustlab.statistics.estimate import Estimate, Real
from robustlab.statistics.weighted import check_sizes, weighted_sum


@dataclass(frozen=True)
class FlipRate:
    """Flip rate of one perturbation."""

    perturbation: str
    probability: Estimate
    """Probability that the prediction flips from one frame to the next; n counts sequences."""
    rate: Estimate | None
    """The probability over the baseline's; None: no baseline was given."""


@dataclass(frozen=True)
class FlipRates:
    """Flip rates and their means."""

    each: tuple[FlipRate, ...]
    mean_probability: Estimate
    mfr: Estimate | None
    """Mean of the rates over perturbations; published numbers are 100 times it."""


def flips(predictions: NDArray[np.int64], *, first: bool = False, step: int = 1) -> Real:
    """Fraction of the frames of each sequence at which the prediction differs from that of an earlier frame.

    Args:
        predictions: of M sequences of L frames, (M, L).
        first: compare with the first frame, as for noise; else with the one ``step`` frames before.
        step: frames from one comparison to the next; larger steps are ImageNet-P's higher difficulties. Not for noise.

    Returns: (M,), in [0, 1].
    Raises: ValueError if there is nothing to compare.
    """
    frames = np.asarray(predictions)
    if frames.ndim != 2 or step < 1 or frames.shape[1] <= step:
        raise ValueError(f"predictions of shape {frames.shape}: give sequences (M, L) of more than {step} frames")
    earlier = frames[:, :1] if first else frames[:, :-step]
    later = frames[:, 1:] if first else frames[:, step:]
    found: Real = (later != earlier).mean(axis=1)
    return found


@typed
def flip_rates(
    predictions: Mapping[str, NDArray[np.int64]],
    *,
    baseline: Mapping[str, float] | None = None,
    noises: Collection[str] | None = None,
    step: int = 1,
    same_images: bool = True,
    level: float = 0.95,
) -> FlipRates:
    """Flip probabilities, flip rates and mFR, with intervals over sequences.

        FP_p = mean over sequences and frames of 1(f(x_j) differs from f(x_(j-1))),   FR_p = FP_p / FP_p of the baseline

    with the first frame in place of the one before for noise; mFR is the mean of FR over perturbations.

    Args:
        predictions: by perturbation, of M sequences of L frames, (M, L).
        baseline: flip probabilities of another model by perturbation (AlexNet's for published mFR; they are not
            shipped), taken as exact; None: only probabilities.
        noises: perturbations whose frames are compared with the first one, being drawn one by one; None: those
            with "noise" in their name.
        step: see ``flips``; 1 for noise always.
        same_images: whether sequence i is made of the same image under all perturbations.
        level: of the intervals.

    Raises: ValueError if sequences are missing or too short, or the baseline lacks a perturbation or never flips.

    Source: Hendrycks, Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR
    2019, section 4, and its released code.
    """
    if not predictions:
        raise ValueError("flip rates need the predictions of at least one perturbation")
    noisy = {name for name in predictions if ("noise" in name if noises is None else name in noises)}
    shares = {
        name: flips(rows, first=name in noisy, step=1 if name in noisy else step) for name, rows in predictions.items()
    }
    check_sizes(shares.values(), same_images=same_images)

    def estimated(names: Sequence[str], divisors: Mapping[str, float]) -> Estimate:
        cells = [(1 / divisors[name] / len(names), shares[name]) for name in names]
        return weighted_sum(cells, same_images=same_images).fraction(level)

    ones, known, names = dict.fromkeys(shares, 1.0), _divisors(shares, baseline), tuple(shares)
    each = tuple(FlipRate(name, estimated([name], ones), estimated([name], known) if known else None) for name in names)
    return FlipRates(each, estimated(names, ones), estimated(names, known) if known else None)


def _divisors(names: Collection[str], baseline: Mapping[str, float] | None) -> Mapping[str, float]:
    if baseline is None:
        return {}
    lacking = [name for name in names if not baseline.get(name, 0.0) > 0]
    if lacking:
        raise ValueError(f"the baseline has no flip probability above 0 for {lacking[0]}")
    return baseline
