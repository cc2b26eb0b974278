"""Budget of an experiment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Limits of an experiment; None: no limit.

    Args:
        name: "full", "quick", ...
        images: for training.
        epochs: of training.
        test: images for each measurement.
    """

    name: str
    images: int | None = None
    epochs: int | None = None
    test: int | None = None


FULL = Budget("full")
QUICK = Budget("quick", images=2000, epochs=1, test=50)
"""A trial that an experiment runs; its numbers have no meaning."""
