"""Errors that corruption errors are divided by: AlexNet's, as published, or those of any other model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from robustlab.core.kinds import typed

Cell = tuple[str, int]
"""A corruption and its severity."""
Wrong = NDArray[np.bool_]
"""True where an example is misclassified (N,)."""
ALL_SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Baseline:
    """Errors of a model on a corrupted data set; taken as exact, for they are not measured on the same images.

    Args:
        name: what reports call it.
        cells: error by corruption and severity, in [0, 1].
        means: error by corruption, averaged over severities 1 to 5, where that is published; it goes before the cells.
        clean: error on clean images; None: not known, then there are no relative errors.
        source: where the numbers are from.
    """

    name: str
    cells: Mapping[Cell, float] = field(default_factory=dict)
    means: Mapping[str, float] = field(default_factory=dict)
    clean: float | None = None
    source: str = ""

    def total(self, corruption: str, severities: Sequence[int]) -> float:
        """Sum of the errors over severities, the denominator of a corruption error.

        Raises: ValueError if one is not known, or all are 0.
        """
        total = self._total(corruption, tuple(severities))
        if total <= 0:
            raise ValueError(f"baseline {self.name} makes no error on {corruption}: nothing can be divided by it")
        return total

    def _total(self, corruption: str, severities: tuple[int, ...]) -> float:
        if corruption in self.means and severities == ALL_SEVERITIES:
            return self.means[corruption] * len(severities)
        missing = [severity for severity in severities if (corruption, severity) not in self.cells]
        if missing:
            known = f"only its mean over severities {ALL_SEVERITIES}" if corruption in self.means else "nothing"
            raise ValueError(
                f"baseline {self.name} has no error for {corruption} at severity {missing[0]}, {known} is known: "
                "evaluate all five severities, leave the corruption out, or give another baseline"
            )
        return sum(self.cells[corruption, severity] for severity in severities)

    def total_above_clean(self, corruption: str, severities: Sequence[int]) -> float | None:
        """Sum of what each severity adds to the clean error; None: not known, or it adds nothing."""
        if self.clean is None:
            return None
        above = self.total(corruption, severities) - len(severities) * self.clean
        return above if above > 1e-9 else None


@cache
def alexnet() -> Baseline:
    """The published denominators of ImageNet-C: AlexNet's top-1 errors on the 15 corruptions and the four extra ones.

    Errors at single severities are known for the 15 only. They belong to ImageNet-C's own images: with them as
    baseline, no other data set gives numbers that can be compared with published ones.
    """
    table = json.loads(files("robustlab.evaluation.corruptions").joinpath("alexnet.json").read_text(encoding="utf-8"))
    cells = {(name, k + 1): error for name, errors in table["by_severity"].items() for k, error in enumerate(errors)}
    return Baseline(table["name"], cells, table["means"], table["clean"], table["source"])


@typed
def baseline_of(name: str, wrong: Mapping[Cell, Wrong], clean: Wrong | None = None) -> Baseline:
    """A baseline from the verdicts on another model.

    Args:
        name: what reports call it.
        wrong: by corruption and severity, whether each example is misclassified (N,).
        clean: the same on clean images.
    """
    errors = {cell: float(np.mean(verdicts)) for cell, verdicts in wrong.items()}
    return Baseline(name, errors, clean=None if clean is None else float(np.mean(clean)))
