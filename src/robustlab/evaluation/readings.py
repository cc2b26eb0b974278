"""Examples that are read once until the first attack, however many checks use them before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.core import Batch, Examples
from robustlab.core.finding import Finding
from robustlab.evaluation.input_checks import REREAD, fetched, unstable

_MOST = 256 << 20
"""Bytes of inputs that are kept; what goes beyond is read again."""


class _Row(NamedTuple):
    """One example as it was read."""

    x: Tensor
    y: Tensor


@dataclass(eq=False)
class Readings:
    """A data set and the examples that were read.

    The checks before an evaluation use a few examples several times, and the clean pass uses them again. They
    are kept from the first reading until the clean pass takes them, so that each is read once; only ``steady`` reads a
    few a second time, on purpose.

    What is read is not checked: ``batch_faults`` is called where it is used.

    Args:
        examples: the data set.
        keeping: whether examples are kept; after ``forget`` they are not.
    """

    examples: Examples
    keeping: bool = True
    _rows: dict[int, _Row] = field(default_factory=dict, init=False)
    _bytes: int = field(default=0, init=False)
    _compared: tuple[Finding | None, ...] = field(default=(), init=False)
    """Finding of ``steady`` after its first call."""

    def read(self, ids: Tensor) -> Batch:
        """Examples by id, kept for the next time.

        Raises: DataError if the data set ends early.
        """
        batch = self._batch(ids)
        if self.keeping and _divisible(batch):
            self._keep(batch)
        return batch

    def take(self, ids: Tensor) -> Batch:
        """Examples by id, for the last time before the attacks.

        Raises: DataError if the data set ends early.
        """
        batch = self._batch(ids)
        for number in ids.tolist():
            self._rows.pop(number, None)
        return batch

    def forget(self) -> None:
        """Drops all kept examples; from now on each is read when it is needed."""
        self.keeping = False
        self._rows.clear()

    def steady(self, ids: Tensor) -> Finding | None:
        """Finding if some examples, ``REREAD`` at most, differ in a second reading; compared the first time only.

        Raises: DataError if the data set ends early.
        """
        if not self._compared:
            some = ids[:REREAD]
            first = self.read(some)
            self._compared = (unstable(first, fetched(self.examples, some, unchecked=True)),)
        return self._compared[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.read(torch.tensor([0])).x.shape[1:])

    def _batch(self, ids: Tensor) -> Batch:
        numbers: list[int] = ids.tolist()
        new = [number for number in numbers if number not in self._rows]
        if len(new) == len(numbers):
            return fetched(self.examples, ids, unchecked=True)
        rows = dict(self._rows)
        if new:
            fresh = fetched(self.examples, torch.tensor(new), unchecked=True)
            if not _divisible(fresh):
                return fetched(self.examples, ids, unchecked=True)
            rows |= _rows(fresh)
        found = [rows[number] for number in numbers]
        if len({(row.x.shape, row.x.dtype, row.x.device, row.y.dtype, row.y.device) for row in found}) > 1:
            return fetched(self.examples, ids, unchecked=True)  # raises for them
        return Batch(torch.stack([row.x for row in found]), torch.stack([row.y for row in found]), ids)

    def _keep(self, batch: Batch) -> None:
        for number, row in _rows(batch).items():
            size = row.x.numel() * row.x.element_size()
            if number not in self._rows and self._bytes + size <= _MOST:
                self._rows[number], self._bytes = row, self._bytes + size


def _rows(batch: Batch) -> dict[int, _Row]:
    return {number: _Row(x, y) for number, x, y in zip(batch.ids.tolist(), batch.x, batch.y, strict=True)}


def _divisible(batch: Batch) -> bool:
    """Tests that a batch is plain rows, one after the other."""
    x, y = batch.x, batch.y
    return x.layout is torch.strided and x.is_contiguous() and x.ndim > 1 and y.shape == x.shape[:1] == batch.ids.shape
