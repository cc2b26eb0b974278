"""Batch dependence: the map of an example must not depend on the others that are explained with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.explain.checks.registry import CHECKS, CheckOutcome, CheckSpec, CheckSubject, serious
from robustlab.explain.maps import Maps

_CODE = "batch-dependent"
_ROWS = 0.1
"""Share of the examples that may move by more than rounding: at a tie, a ReLU or a pooling may fall elsewhere."""


def moved(one: Tensor, other: Tensor) -> Tensor:
    """Distance of maps (N, ...) as a share of their size (N,), at least 0."""
    one, other = one.double().flatten(1), other.double().flatten(1)
    size = torch.maximum(one.norm(dim=1), other.norm(dim=1)).clamp_min(1e-300)
    change: Tensor = (one - other).norm(dim=1) / size
    return change


def tolerance(values: Tensor) -> float:
    """Share by which a map may change by rounding in another order, the root of the precision of its type."""
    return float(torch.finfo(values.dtype).eps ** 0.5) * 10


@typed
@dataclass(frozen=True)
class BatchDependence:
    """Finding for maps that change when their examples are explained in smaller batches.

    The first examples are explained together, and in two halves.

    Args:
        images: number of examples, at least 2.
    """

    images: int = 16

    def __post_init__(self) -> None:
        if self.images < 2:
            raise ValueError(f"images must be at least 2, got {self.images}")

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        """Outcome without a curve."""
        if len(subject) < 2:
            return CheckOutcome(skipped="one example alone has no others to depend on")
        few = subject[: self.images]
        half = len(few) // 2
        parts = Maps.joined([few[:half].again(), few[half:].again()])
        change = moved(few.made.values, parts.values)
        off, n = int((change > tolerance(few.made.values)).sum()), len(few)
        if off <= _ROWS * n:
            return CheckOutcome()
        evidence: Evidence = {"moved": off, "n": n, "median change": float(change.median())}
        return serious(
            _CODE,
            f"Maps of {off} of {n} examples change with the batch that they are in (by {float(change.median()):.0%}).",
            evidence,
            "Put the network in evaluation mode (model.eval()); a method must treat each example by itself.",
        )


CHECKS.register(
    _CODE,
    CheckSpec(BatchDependence, "maps change with the batch", ("completeness-violated", "baseline-sensitive")),
)
