"""Corruption error, mCE and relative mCE, and the plain mean error, with intervals over images.

All of these are linear in the verdicts, with fixed weights. If all cells (corruption and severity) hold the same
images, each is a mean over images of one number per image, and its interval that of a mean: verdicts on the same image
go together, and counting them as if they were independent would make the interval far too narrow. If cells hold
different images, the variances of the cells are added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robustlab.core.kinds import typed
from robustlab.corruptions import EXTRA
from robustlab.evaluation.corruptions.baseline import ALL_SEVERITIES, Baseline, Cell, Wrong
from robustlab.statistics.estimate import Estimate
from robustlab.statistics.weighted import WeightedSum, check_sizes, weighted_sum

CLEAN: Cell = ("", 0)


@dataclass(frozen=True)
class CorruptionError:
    """Errors of a model under one corruption; 1 is the error of the baseline (published numbers are 100 times it)."""

    corruption: str
    error: Estimate
    """Mean error over the severities, in [0, 1], divided by nothing."""
    ce: Estimate | None
    """Sum of errors over that of the baseline; None: no baseline was given."""
    relative_ce: Estimate | None
    """Sum of what is added to the clean error, over the same of the baseline; None: no baseline or clean error, or the
    corruption adds nothing to the baseline's."""


@dataclass(frozen=True)
class CorruptionErrors:
    """Corruption errors and their means."""

    severities: tuple[int, ...]
    over: tuple[str, ...]
    """Corruptions that the means are over: without the four extra ones, if there are others."""
    baseline: str
    """Its name; empty: none."""
    same_images: bool
    """True if all cells hold the same images, in the same order."""
    each: tuple[CorruptionError, ...]
    mean_error: Estimate
    """Usual measure of CIFAR-10-C and similar sets."""
    mce: Estimate | None
    relative_mce: Estimate | None


@typed
def corruption_errors(
    wrong: Mapping[Cell, Wrong],
    *,
    clean: Wrong | None = None,
    baseline: Baseline | None = None,
    same_images: bool = True,
    level: float = 0.95,
) -> CorruptionErrors:
    """Corruption errors, mCE, relative mCE and the mean error, each with its interval.

        CE_c = sum_s E_sc / sum_s B_sc,   relative CE_c = sum_s (E_sc - E_clean) / sum_s (B_sc - B_clean)

    with errors E of the model and B of the baseline; mCE and relative mCE are means over corruptions.

    Args:
        wrong: by (corruption, severity), whether each image is misclassified (N,); each corruption at the same
            severities.
        clean: the same on the images before they were corrupted; None: no relative errors.
        baseline: ``alexnet()`` or another; None: only errors that are divided by nothing. Taken as exact.
        same_images: whether row i is the same image in all cells, and in ``clean``.
        level: of the intervals.

    Raises: ValueError if cells are missing or empty, hold different numbers of images though they should hold the same,
        or the baseline lacks one.

    Example:
        >>> import numpy as np
        >>> wrong = {("fog", s): np.arange(10) < s for s in (1, 2, 3, 4, 5)}
        >>> found = corruption_errors(wrong, baseline=Baseline("half", means={"fog": 0.5}))
        >>> round(found.mean_error.value, 6), round(found.mce.value, 6)
        (0.3, 0.6)

    Source: Hendrycks, Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR
    2019, section 4.
    """
    cells = {cell: np.asarray(verdicts, bool) for cell, verdicts in wrong.items()}
    names, severities = _table(cells)
    if clean is not None:
        cells[CLEAN] = np.asarray(clean, bool)
    check_sizes(cells.values(), same_images=same_images)
    work = _Work(cells, severities, baseline, same_images, level)
    over = tuple(name for name in names if name not in EXTRA) or names
    mean_error, mce, relative_mce = work.numbers(over)
    return CorruptionErrors(
        severities=severities,
        over=over,
        baseline=baseline.name if baseline else "",
        same_images=same_images,
        each=tuple(CorruptionError(name, *work.numbers([name])) for name in names),
        mean_error=mean_error,
        mce=mce,
        relative_mce=relative_mce,
    )


class _Work(NamedTuple):
    """Data that all numbers are computed from."""

    cells: dict[Cell, Wrong]
    severities: tuple[int, ...]
    baseline: Baseline | None
    same_images: bool
    level: float

    def numbers(self, names: Sequence[str]) -> tuple[Estimate, Estimate | None, Estimate | None]:
        """Mean error, corruption error and relative corruption error over some corruptions."""
        plain = self._mean({name: 1 / len(self.severities) for name in names}).fraction(self.level)
        if self.baseline is None:
            return plain, None, None
        ce = self._mean({name: 1 / self.baseline.total(name, self.severities) for name in names}).fraction(self.level)
        return plain, ce, self._relative(self.baseline, names)

    def _relative(self, baseline: Baseline, names: Sequence[str]) -> Estimate | None:
        above = {name: baseline.total_above_clean(name, self.severities) for name in names}
        known = {name: 1 / total for name, total in above.items() if total is not None}
        if CLEAN not in self.cells or len(known) < len(names):
            return None
        return self._mean(known, relative=True).difference(self.level)

    def _mean(self, weights: Mapping[str, float], *, relative: bool = False) -> WeightedSum:
        """Mean over corruptions of (weight times the sum of errors over severities, or of what they add)."""
        terms = {(name, s): weight / len(weights) for name, weight in weights.items() for s in self.severities}
        if relative:
            terms[CLEAN] = -math.fsum(terms.values())
        return weighted_sum([(w, self.cells[cell]) for cell, w in terms.items()], same_images=self.same_images)


def _table(cells: Mapping[Cell, Wrong]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Corruptions in the order given, and severities ascending."""
    names = tuple(dict.fromkeys(name for name, _ in cells))
    severities = tuple(sorted({severity for _, severity in cells}))
    missing = [(name, s) for name in names for s in severities if (name, s) not in cells]
    if not names or not set(severities) <= set(ALL_SEVERITIES):
        raise ValueError(f"corruption errors need corruptions at severities 1 to 5, got severities {severities}")
    if missing:
        raise ValueError(
            f"{missing[0][0]} was not evaluated at severity {missing[0][1]}, others were: give all corruptions at the "
            "same severities"
        )
    return names, severities
