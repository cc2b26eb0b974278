"""How much an experiment may spend."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """The most that an experiment may use; None: what it asks for.

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
"""Shows that an experiment runs; its numbers mean nothing."""
