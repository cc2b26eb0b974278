"""Named queries on the outcomes of a run while it goes on; those for a result are in ``result_queries``.

SQL text is here, in ``result_queries``, in ``schema`` and in ``store``, and in no other file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from robustlab.evaluation.plan import CLEAN, Phase
from robustlab.evaluation.schema import (
    BATCH_HEAD,
    CLEAN_CONTENT,
    COUNTED,
    KEY,
    ON_TEXTS,
    OUTCOME_CONTENT,
    PLACE,
    TEXT_CONTENT,
    TEXT_KEY,
    TEXT_PLACE,
    finished,
)

Value: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = tuple[Any, ...]

_CHUNK = 50_000  # rows at a time when reading


@dataclass(frozen=True)
class Reader:
    """Carries out queries on the outcomes of a run."""

    database: sqlite3.Connection

    def one(self, query: str, *values: Value) -> Row:
        """The only row of a query."""
        row: Row = self.database.execute(query, values).fetchone()
        return row

    def count(self, query: str, *values: Value) -> int:
        """The only number of a query."""
        return int(self.one(query, *values)[0])

    def all(self, query: str, *values: Value) -> list[Any]:
        """All rows of a query."""
        return self.database.execute(query, values).fetchall()

    def ids(self, query: str, *values: Value) -> Tensor:
        """The ids that a query finds (N,), int64."""
        return torch.tensor([i for (i,) in self.database.execute(query, values)], dtype=torch.int64)

    def rows(self, query: str, *values: Value) -> Iterator[Row]:
        """The rows of a query, one by one."""
        yield from self.database.execute(query, values)

    def stream(self, query: str, *values: Value) -> Iterator[tuple[Row, ...]]:
        """The rows of a query as columns, some thousands of rows at a time."""
        cursor = self.database.execute(query, values)
        while rows := cursor.fetchmany(_CHUNK):
            yield tuple(zip(*rows, strict=True))


# --- The database as a whole


def has_begun(reader: Reader) -> bool:
    """Tests for sessions that worked on the run, or rows of it."""
    tables = ("sessions", "batches", "examples")
    return bool(reader.count(f"SELECT {' OR '.join(f'EXISTS (SELECT 1 FROM {table})' for table in tables)}"))


def runs(reader: Reader) -> list[Row]:
    """Ids of the runs that the rows belong to: one, or none yet."""
    return reader.all("SELECT id FROM run")


def database_path(reader: Reader) -> str:
    """Path of the database."""
    return str(reader.one("PRAGMA database_list")[2])


def last_session(reader: Reader) -> int:
    """Number of the last session; 0 before the first."""
    return reader.count("SELECT coalesce(max(session), 0) FROM sessions")


def spent(reader: Reader) -> tuple[float, float]:
    """Passes of single examples through the model and seconds of all attack batches."""
    query = "SELECT coalesce(sum(forward + backward), 0), coalesce(sum(seconds), 0) FROM batches WHERE attack >= 0"
    passes, seconds = reader.one(query)
    return passes, seconds


# --- Batches


def kept_files(reader: Reader) -> list[Row]:
    """Pass and number of each batch that keeps a file, and the file with its digest."""
    return reader.all(f"SELECT {PLACE}, batch, file, digest FROM batches WHERE file NOTNULL")


def committed_numbers(reader: Reader, phase: Phase) -> set[int]:
    """Numbers of the committed batches of a pass."""
    return {number for (number,) in reader.all(f"SELECT batch FROM batches WHERE {KEY}", *phase)}


def ids_by_batch(reader: Reader, phase: Phase) -> Iterator[Row]:
    """Batch number and id of each row of a pass, by both."""
    if phase == CLEAN:
        return reader.rows("SELECT batch, id FROM examples ORDER BY batch, id")
    if phase.kind == ON_TEXTS:
        return reader.rows(f"SELECT batch, id FROM texts WHERE {TEXT_KEY} ORDER BY batch, id", *phase)
    return reader.rows(f"SELECT batch, id FROM outcomes WHERE {KEY} ORDER BY batch, id", *phase)


def committed(reader: Reader) -> list[Row]:
    """All committed batches: pass, number, digest of the content, and the rest of the line."""
    return reader.all(f"SELECT {PLACE}, batch, content, {BATCH_HEAD} FROM batches ORDER BY {PLACE}, batch")


def batch_rows(reader: Reader, phase: Phase, number: int, first: int, last: int) -> list[Row]:
    """The rows of one batch whose ids lie between two, by id."""
    some = "batch = ? AND id BETWEEN ? AND ? ORDER BY id"
    if phase == CLEAN:
        return reader.all(f"SELECT {CLEAN_CONTENT} FROM examples WHERE {some}", number, first, last)
    if phase.kind == ON_TEXTS:
        return reader.all(f"SELECT {TEXT_CONTENT} FROM texts WHERE {TEXT_KEY} AND {some}", *phase, number, first, last)
    query = f"SELECT {OUTCOME_CONTENT} FROM outcomes WHERE {KEY} AND {some}"
    return reader.all(query, *phase, number, first, last)


def rows_by_batch(reader: Reader) -> Iterator[Row]:
    """Pass, batch number and content of each row that a batch committed, the clean ones first."""
    place = ", ".join(map(repr, CLEAN))
    yield from reader.rows(f"SELECT {place}, batch, {CLEAN_CONTENT} FROM examples ORDER BY batch, id")
    ordered = f"WHERE kind != 'reused' ORDER BY {PLACE}, batch, id"
    yield from reader.rows(f"SELECT {PLACE}, batch, {OUTCOME_CONTENT} FROM outcomes {ordered}")
    if has_texts(reader):
        yield from reader.rows(f"SELECT {TEXT_PLACE}, batch, {TEXT_CONTENT} FROM texts ORDER BY attack, batch, id")


def has_texts(reader: Reader) -> bool:
    """Tests for the tables of runs on texts, which databases of older versions lack."""
    return bool(reader.count("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'texts'"))


def uncommitted_rows(reader: Reader) -> Iterator[Row]:
    """Rows that no batch commits: those that are reused from a smaller eps, the files of examples, and audits."""
    ordered = f"WHERE kind = 'reused' ORDER BY {PLACE}, id"
    yield from reader.rows(f"SELECT {PLACE}, batch, {OUTCOME_CONTENT} FROM outcomes {ordered}")
    yield from reader.rows("SELECT id, name FROM files ORDER BY id")
    if has_texts(reader):
        yield from reader.rows("SELECT attack, id, turned, similarity FROM audits ORDER BY attack, id")


def unnumbered_examples(reader: Reader) -> int:
    """Examples whose rows have no batch number, written by an older version."""
    return reader.count("SELECT count(*) FROM examples WHERE batch IS NULL")


def examples_done(reader: Reader, phase: Phase, last: int) -> int:
    """Examples in the committed batches of a pass up to one."""
    return reader.count(f"SELECT coalesce(sum(n), 0) FROM batches WHERE {KEY} AND batch <= ?", *phase, last)


# --- Examples


def undefined_examples(reader: Reader) -> int:
    """Clean examples whose logits are not finite."""
    return reader.count("SELECT count(*) FROM examples WHERE prediction < 0")


def correct_ids(reader: Reader) -> Tensor:
    """Examples that the model gets right, by id."""
    return reader.ids("SELECT id FROM examples WHERE correct = 1 ORDER BY id")


def wrong_examples(reader: Reader, last_id: int) -> int:
    """Examples up to an id that the model gets wrong."""
    return reader.count("SELECT count(*) FROM examples WHERE correct = 0 AND id <= ?", last_id)


def reused_ids(reader: Reader, attack: int, eps: float) -> Tensor:
    """Examples whose outcome is taken over from a smaller eps, by id."""
    query = "SELECT id FROM outcomes WHERE attack = ? AND eps = ? AND kind = 'reused' ORDER BY id"
    return reader.ids(query, attack, eps)


def finished_ids(reader: Reader, phase: Phase, *, targeted: bool) -> Tensor:
    """Examples that earlier stages and restarts of a pass have finished, by id."""
    earlier = "attack = ? AND eps = ? AND kind = ? AND (stage, restart) < (?, ?)"
    done = finished(targeted=targeted)
    return reader.ids(f"SELECT DISTINCT id FROM outcomes WHERE {earlier} AND {done} ORDER BY id", *phase)


def finished_count(reader: Reader, phase: Phase, last: int, *, targeted: bool) -> int:
    """Examples that a pass has finished in its batches up to one."""
    query = f"SELECT count(*) FROM outcomes WHERE {KEY} AND batch <= ? AND {finished(targeted=targeted)}"
    return reader.count(query, *phase, last)


def fooled_ids(reader: Reader, attack: int, eps: float, *, counted: bool = True) -> Tensor:
    """Examples that an attack fooled at one eps, in any stage; ``counted`` leaves out what only a recheck fooled."""
    which = f"{COUNTED} AND " if counted else ""
    query = f"SELECT DISTINCT id FROM outcomes WHERE attack = ? AND eps = ? AND {which}fooled = 1"
    return reader.ids(query, attack, eps)


def fooled_in(reader: Reader, phase: Phase) -> Tensor:
    """Examples that one pass fooled, by id."""
    return reader.ids(f"SELECT id FROM outcomes WHERE {KEY} AND fooled = 1 ORDER BY id", *phase)


def robust_in(reader: Reader, phase: Phase) -> Tensor:
    """Examples that one pass left robust, the most confident first."""
    robust = "fooled = 0 AND prediction >= 0 ORDER BY confidence DESC, id"
    return reader.ids(f"SELECT id FROM outcomes WHERE {KEY} AND {robust}", *phase)
