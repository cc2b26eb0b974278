"""Checks of labels and names of examples: whole numbers, one per example."""

from __future__ import annotations

import torch
from torch import Tensor

_WHOLE = frozenset({torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8})


def example_names(ids: object, count: int | None = None) -> Tensor:
    """Names of examples as int64.

    Args:
        ids: the argument of the user (N,).
        count: N; None: any.

    Raises: ValueError if they are no tensor of whole numbers: a fraction would be cut off, and draws be equal in
        silence.
    """
    if not isinstance(ids, Tensor) or ids.dtype not in _WHOLE or (count is not None and ids.shape != (count,)):
        shape = "(N,)" if count is None else f"({count},)"
        raise ValueError(f"ids must be a tensor {shape} of whole numbers, one per example, got {seen(ids)}")
    return ids.to(torch.int64)


def class_numbers(y: object, count: int | None = None, what: str = "labels") -> Tensor:
    """The labels, if they can be class numbers.

    Args:
        y: the argument of the user (N,).
        count: N; None: any.
        what: name of the argument in errors.

    Raises: ValueError if they are no tensor (N,) of whole numbers: one-hot rows, words, numbers with a fraction.
    """
    if not isinstance(y, Tensor) or y.ndim != 1 or y.dtype not in _WHOLE:
        hint = "; one-hot rows become numbers with y.argmax(dim=1)" if getattr(y, "ndim", 0) == 2 else ""
        raise ValueError(f"{what} must be class numbers (N,) of dtype int64, got {seen(y)}{hint}")
    if count is not None and len(y) != count:
        raise ValueError(f"{what} must be class numbers, one for each of {count} rows, got {len(y)}")
    return y


def seen(given: object) -> str:
    """A value in a message: shape and dtype where it has them."""
    shape, dtype = getattr(given, "shape", None), getattr(given, "dtype", None)
    return f"a {type(given).__name__}" if shape is None else f"{tuple(shape)} {dtype}"
