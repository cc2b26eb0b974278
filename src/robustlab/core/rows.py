"""Work on a batch in chunks of a few rows, so that temporary tensors stay small.

A temporary tensor as big as the batch costs memory, and on a CPU time, as it does not stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_VALUES = {"cpu": 1 << 18}
_VALUES_ELSEWHERE = 1 << 26  # starting a kernel costs more than its memory does


def row_chunks(x: Tensor) -> Iterator[slice]:
    """Slices of the rows of a batch (N, ...) that hold few values each, at least one row."""
    values = _VALUES.get(x.device.type, _VALUES_ELSEWHERE)
    rows = max(1, values // max(1, x.numel() // max(1, x.shape[0])))
    return (slice(start, start + rows) for start in range(0, x.shape[0], rows))


def kept_rows_(x: Tensor, rows: Tensor) -> Tensor:
    """The rows with these ascending numbers (M,), moved to the front of ``x`` itself; returns that part of it."""
    done = 0
    for part in row_chunks(x[: rows.numel()]):
        chosen = rows[part]
        x[done : done + chosen.numel()] = x[chosen]
        done += chosen.numel()
    return x[:done]


def copy_rows_(to: Tensor, rows: Tensor, x: Tensor, chosen: Tensor) -> None:
    """Copies row ``chosen[i]`` of ``x`` to row ``rows[i]`` of ``to``, both (M,)."""
    for part in row_chunks(x[: rows.numel()]):
        to[rows[part]] = x[chosen[part]]


def all_rows(x: Tensor) -> Tensor:
    """The numbers of all rows (N,)."""
    return torch.arange(x.shape[0], device=x.device)
