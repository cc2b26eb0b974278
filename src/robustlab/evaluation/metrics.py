"""Counters that take a batch at a time: fractions, classes, confusions, spreads.

They hold counts only (``SpreadTally`` one number per example), so that any number of examples streams through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robustlab.evaluation.record import ClassResult, Confusion, Spread
from robustlab.statistics.intervals import Interval, clopper_pearson

Whole = NDArray[np.int64]
Real = NDArray[np.float64]


@dataclass
class FractionTally:
    """Number of examples, and of those for which a verdict is true."""

    count: int = 0
    n: int = 0

    def update(self, hits: NDArray[np.bool_]) -> None:
        """Adds verdicts (N,)."""
        self.count += int(hits.sum())
        self.n += hits.size

    def compute(self, level: float = 0.95) -> Interval:
        """The fraction so far with its exact interval."""
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
    """Counts of (label, prediction) pairs; only pairs that occur are held."""

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
