"""Data sets in memory: stored in their own type (uint8 for images), converted a batch at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.core.names import seen
from robustlab.core.types import Batch


@typed
@dataclass(frozen=True, eq=False)
class InMemory:
    """Labelled examples held as two tensors.

    Args:
        name: in reports.
        classes: names of the K classes, in the order of their numbers.
        x: inputs (N, ...): uint8 in 0..255, returned as float32 in [0, 1]; or any float dtype, returned unchanged.
        y: labels (N,), integers in 0..K-1.
        source: origin of the data, for reports.

    Raises: ValueError for an empty set, integer images other than uint8, NaN, or labels that do not fit.
    """

    name: str
    classes: tuple[str, ...]
    x: Tensor
    y: Tensor
    source: str = "memory"

    def __post_init__(self) -> None:
        check_inputs(self.x)
        check_labels(self.y, len(self.x), len(self.classes))

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, ids: Tensor) -> Batch:
        """Examples by their number 0..N-1, in the given order; inputs float, in [0, 1] if stored as uint8."""
        check_ids(ids, len(self), self.name)
        return Batch(unit(self.x.index_select(0, ids)), self.y.index_select(0, ids).long(), ids)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of class names, shapes, types and values: equal for equal content from any source."""
        head = [self.classes, *((str(part.dtype), list(part.shape)) for part in (self.x, self.y))]
        digest = hashlib.sha256(json.dumps(head).encode())
        for part in (self.x, self.y):
            digest.update(part.contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()


def unit(x: Tensor) -> Tensor:
    """Images 0..255 as float32 in [0, 1], in one pass; floating-point inputs stay unchanged."""
    return x if x.is_floating_point() else torch.div(x, 255.0)


def check_inputs(x: Tensor) -> None:
    """Refuses tensors that cannot be inputs, or that hold NaN or infinity."""
    check_kind(x)
    check_finite(x)


def check_kind(x: Tensor) -> None:
    """Refuses tensors whose layout, device, shape or type cannot be that of inputs."""
    if x.is_nested or x.layout is not torch.strided:
        kind = "nested" if x.is_nested else f"of layout {str(x.layout).removeprefix('torch.')}"
        raise ValueError(f"inputs are a tensor {kind}: give plain values, as x.to_dense() or one size for all")
    if x.is_meta:
        raise ValueError("inputs are on the device meta, which holds no values: give the images themselves")
    if x.dim() < 2 or x.numel() == 0:
        raise ValueError(f"inputs of shape {tuple(x.shape)}: there must be at least one example, shape (N, C, H, W)")
    if not x.is_floating_point() and x.dtype is not torch.uint8:
        raise ValueError(f"inputs are {x.dtype}: give images as uint8 in 0..255 or as floats in [0, 1]")


def check_finite(x: Tensor, ids: Tensor | None = None) -> None:
    """Refuses inputs (N, ...) with NaN or infinity, and names the first by its id (N,); None: by its place."""
    if x.is_floating_point() and not bool(x.isfinite().all()):
        bad = (~x.flatten(1).isfinite().all(dim=1)).nonzero().flatten()
        first = int(bad[0] if ids is None else ids[bad[0]])
        raise ValueError(f"{len(bad)} of {len(x)} inputs hold NaN or infinity, the first is number {first}")


def check_labels(y: Tensor, examples: int, classes: int) -> None:
    """Refuses labels with a number, shape, type or range that does not fit the examples and classes."""
    if y.shape != (examples,):
        raise ValueError(f"labels of shape {tuple(y.shape)} for {examples} inputs: give one number each, ({examples},)")
    _check_whole(y)
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels run from {low} to {high}, but with {classes} classes they must be in 0..{classes - 1}"
        )


def _check_whole(y: Tensor) -> None:
    if y.is_floating_point() or y.is_complex() or y.dtype is torch.bool:
        raise ValueError(f"labels are {y.dtype}: give integer class numbers")


def check_ids(ids: Tensor, examples: int, name: str) -> None:
    """Refuses example numbers that are not in the data set."""
    if not isinstance(ids, Tensor) or ids.dim() != 1 or ids.dtype is not torch.int64:
        raise ValueError(f"ids must be int64 of shape (N,), got {seen(ids)}")
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < examples:
        raise ValueError(f"{name} has examples 0..{examples - 1}, got ids {int(ids.min())}..{int(ids.max())}")


def class_names(classes: Sequence[str] | int | None, y: Tensor) -> tuple[str, ...]:
    """Class names: as given, or numbers up to the given count or the largest label."""
    if classes is None:
        if y.numel():
            _check_whole(y)
        classes = int(y.max()) + 1 if y.numel() else 0
    return tuple(str(k) for k in range(classes)) if isinstance(classes, int) else tuple(classes)
