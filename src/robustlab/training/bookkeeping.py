"""Where a run stands, and what its steps have measured."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from robustlab.core import Metrics


class Place(NamedTuple):
    """One update of the weights in a run."""

    epoch: int
    """1, 2, ..."""
    step: int
    """Batch of the epoch: 1, 2, ..."""
    steps: int
    """Batches of an epoch."""
    replay: int = 0
    """Update with this batch: 0, 1, ..."""

    def __str__(self) -> str:
        return f"step {self.step} of {self.steps} in epoch {self.epoch}"


class Means:
    """Weighted means of numbers that are measured again and again; a name need not come each time."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._weights: dict[str, float] = defaultdict(float)

    def add(self, metrics: Metrics, weight: float = 1.0) -> None:
        """Takes in what was measured on so many examples."""
        for name, value in metrics.items():
            self._sums[name] += value * weight
            self._weights[name] += weight

    def values(self) -> Metrics:
        """The mean of each name over what was measured of it."""
        return {name: value / self._weights[name] for name, value in self._sums.items()}
