"""Queries on the outcomes of a run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

Value: TypeAlias = int | float | str | bytes | None

KEY = "attack = ? AND eps = ? AND kind = ? AND stage = ? AND restart = ?"
"""The condition that rows and batches belong to a ``Pass``."""
_CHUNK = 50_000  # rows at a time when reading


@dataclass(frozen=True)
class Reader:
    """Queries on the outcomes of a run."""

    database: sqlite3.Connection

    def one(self, query: str, *values: Value) -> tuple[Any, ...]:
        """The only row of a query."""
        row: tuple[Any, ...] = self.database.execute(query, values).fetchone()
        return row

    def all(self, query: str, *values: Value) -> list[Any]:
        """All rows of a query."""
        return self.database.execute(query, values).fetchall()

    def ids(self, query: str, *values: Value) -> Tensor:
        """The ids that a query finds (N,), int64."""
        return torch.tensor([i for (i,) in self.database.execute(query, values)], dtype=torch.int64)

    def rows(self, query: str, *values: Value) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one by one."""
        yield from self.database.execute(query, values)

    def stream(self, query: str, *values: Value) -> Iterator[tuple[tuple[Any, ...], ...]]:
        """The rows of a query as columns, some thousands of rows at a time."""
        cursor = self.database.execute(query, values)
        while rows := cursor.fetchmany(_CHUNK):
            yield tuple(zip(*rows, strict=True))
