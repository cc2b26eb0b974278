"""Weighted sums of mean verdicts over the same or different images, with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustlab.core.kinds import typed
from robustlab.statistics.estimate import Estimate, beta_interval, mean_interval

Verdicts = NDArray[np.bool_] | NDArray[np.float64]
"""One number in [0, 1] for each image (N,), such as 1 where it is wrong."""


class WeightedSum(NamedTuple):
    """A weighted sum of means and its uncertainty."""

    value: float
    variance: float
    n: int
    """Images: those of a cell if all hold the same, else those of all cells."""
    verdicts: int
    """Number of verdicts in all cells."""
    weights: float
    """Sum of the weights' sizes: how far the sum can be from 0."""

    def fraction(self, level: float) -> Estimate:
        """The sum and its interval, for weights of one sign."""
        top = self.weights
        fraction, variance = min(self.value / top, 1.0), self.variance / top**2
        found = beta_interval(fraction, variance, self.n, most=self.verdicts, level=level)
        return Estimate(self.value, found.low * top, found.high * top, self.n, level)

    def difference(self, level: float) -> Estimate:
        """The sum and its interval, for weights that add up to 0."""
        return mean_interval(self.value, self.variance, self.n, self.weights / 2, level=level)


@typed
def weighted_sum(cells: Sequence[tuple[float, Verdicts]], *, same_images: bool) -> WeightedSum:
    """Adds up the means of cells.

    Args:
        cells: weights, and verdicts (N,).
        same_images: True if row i is the same image in all cells: then the sum is a mean over images of one number per
            image; else the cells' variances are added.
    """
    value = math.fsum(weight * float(verdicts.mean()) for weight, verdicts in cells)
    sizes = math.fsum(abs(weight) for weight, _ in cells)
    total = sum(verdicts.size for _, verdicts in cells)
    if not same_images:
        variance = math.fsum(weight**2 * float(verdicts.var()) / verdicts.size for weight, verdicts in cells)
        return WeightedSum(value, variance, total, total, sizes)
    n = cells[0][1].size
    each = np.zeros(n)
    for weight, verdicts in cells:
        each += weight * verdicts
    return WeightedSum(value, float(each.var()) / n, n, total, sizes)


def check_sizes(cells: Iterable[Verdicts], *, same_images: bool) -> None:
    """Refuses empty cells, and cells of different sizes that should hold the same images.

    Raises: ValueError.
    """
    sizes = {verdicts.size for verdicts in cells}
    if 0 in sizes:
        raise ValueError("an error needs at least one image in each cell")
    if same_images and len(sizes) > 1:
        raise ValueError(
            f"cells hold {min(sizes)} to {max(sizes)} images: if they are different ones, pass "
            "same_images=False, and their variances are added"
        )
