"""Outcomes on disk: rows in sqlite and x_adv in files, a whole batch at a time."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from robustlab.core import RunError
from robustlab.evaluation.files import disk, intact, sweep, write_tensors
from robustlab.evaluation.plan import CLEAN, Pass
from robustlab.evaluation.schema import COUNTED, SCHEMA

Value: TypeAlias = int | float | str | bytes | None
Columns: TypeAlias = Mapping[str, list[Value]]
"""Equally long lists by column name."""

KEY = "attack = ? AND eps = ? AND kind = ? AND stage = ? AND restart = ?"
"""The condition that rows and batches belong to a ``Pass``."""
_KEPT = f"SELECT {', '.join(Pass._fields)}, batch, file, digest FROM batches WHERE file NOTNULL"
_CHUNK = 50_000  # rows at a time when reading


class Cost(NamedTuple):
    """What a batch took."""

    forward: int
    backward: int
    seconds: float


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

    def stream(self, query: str, *values: Value) -> Iterator[tuple[tuple[Any, ...], ...]]:
        """The rows of a query as columns, some thousands of rows at a time."""
        cursor = self.database.execute(query, values)
        while rows := cursor.fetchmany(_CHUNK):
            yield tuple(zip(*rows, strict=True))


@dataclass
class Store:
    """The run directory, open for writing.

    Args:
        directory: of the run.
        database: open connection.
        durable: whether commits shall survive the machine too, not only the process.
        session: number of this session, from 1.
    """

    directory: Path
    database: sqlite3.Connection
    durable: bool = True
    session: int = field(default=0, init=False)
    _clock: float = field(default=0.0, init=False)

    @property
    def begun(self) -> bool:
        """Whether a session worked on this run already."""
        return bool(self.reader.one("SELECT count(*) FROM sessions")[0])

    def begin(self, started: str) -> None:
        """Files the start of a session, and drops batches whose file is missing or damaged, so that they are redone."""
        with self.transaction():
            for *key, name, expected in self.reader.all(_KEPT):
                if not intact(self.directory / str(name), expected):
                    self.database.execute(f"DELETE FROM outcomes WHERE {KEY} AND batch = ?", key)
                    self.database.execute(f"DELETE FROM batches WHERE {KEY} AND batch = ?", key)
            self.session = 1 + self.reader.one("SELECT count(*) FROM sessions")[0]
            self.database.execute("INSERT INTO sessions VALUES (?, ?, 0)", (self.session, started))
        self._clock = perf_counter()

    def done(self, passed: Pass) -> set[int]:
        """Numbers of the batches of a pass that are committed."""
        return {n for (n,) in self.reader.all(f"SELECT batch FROM batches WHERE {KEY}", *passed)}

    def commit(
        self, passed: Pass, number: int, rows: Columns, cost: Cost, tensors: Mapping[str, Tensor] | None = None
    ) -> None:
        """Writes a batch: first its file, then its rows in one transaction.

        Args:
            passed: the pass it belongs to.
            number: of the batch in its pass.
            rows: one entry per example and column of ``outcomes`` (``examples`` in the clean pass).
            cost: of the batch.
            tensors: kept in a file of ``adversarial/``; None or none: nothing is kept.

        Raises: RunError if it cannot be written; then nothing of this batch is.
        """
        with disk(self.directory):
            name, digest = self._file(passed, number, tensors) if tensors else (None, None)
        with self.transaction():
            self._insert(passed, number, rows)
            count = len(next(iter(rows.values())))
            batch = (*passed, number, count, cost.forward, cost.backward, name, digest, cost.seconds)
            self.database.execute(f"INSERT INTO batches VALUES ({_marks(12)})", batch)
            self.spend()

    def put(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Writes tensors into a file of the run directory."""
        with disk(self.directory):
            write_tensors(self.directory / name, tensors)

    def name_files(self, ids: Tensor, names: Sequence[str]) -> None:
        """Files which file each example comes from."""
        with self.transaction():
            self.database.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?)", zip(ids.tolist(), names, strict=True)
            )

    def close_books(self) -> None:
        """Files the time since the last batch."""
        with self.transaction():
            self.spend()

    def spend(self) -> None:
        """Adds the time since the last call to this session."""
        before, self._clock = self._clock, perf_counter()
        spent = (self._clock - before, self.session)
        self.database.execute("UPDATE sessions SET seconds = seconds + ? WHERE session = ?", spent)

    def _file(self, passed: Pass, number: int, tensors: Mapping[str, Tensor]) -> tuple[str, bytes]:
        kind = f"{passed.kind}-{passed.stage}-{passed.restart}"
        name = f"adversarial/{passed.attack:02d}-eps{passed.eps!r}-{kind}-{number:06d}.safetensors"
        return name, write_tensors(self.directory / name, tensors)

    def _insert(self, passed: Pass, number: int, rows: Columns) -> None:
        names, values = list(rows), zip(*rows.values(), strict=True)
        if passed == CLEAN:
            statement = f"INSERT INTO examples ({', '.join(names)}) VALUES ({_marks(len(names))})"
            self.database.executemany(statement, values)
            return
        names = [*Pass._fields, "batch", *names]
        statement = f"INSERT INTO outcomes ({', '.join(names)}) VALUES ({_marks(len(names))})"
        self.database.executemany(statement, ((*passed, number, *row) for row in values))

    def reuse(self, attack: int, eps: float, smaller: float, finished: str) -> None:
        """Counts what an attack finished at a smaller eps as finished at this one; ``finished`` is a condition."""
        columns = "stage, restart, id, fooled, prediction, confidence, target, inside, linf, l2, l1, batch"
        with self.transaction():
            self.database.execute(
                f"INSERT OR IGNORE INTO outcomes (attack, eps, kind, {columns}) SELECT attack, ?, 'reused', {columns} "
                f"FROM outcomes WHERE attack = ? AND eps = ? AND {COUNTED} AND {finished}",
                (eps, attack, smaller),
            )

    @property
    def reader(self) -> Reader:
        """For queries."""
        return Reader(self.database)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements of the block together, or none.

        Raises: RunError if they cannot be written.
        """
        with disk(self.directory):
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.database.execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
                raise


def _marks(count: int) -> str:
    return ", ".join("?" * count)


@contextmanager
def opened(directory: Path, *, durable: bool = True) -> Iterator[Store]:
    """Opens a run directory for writing, alone.

    Args:
        directory: made if it is not there.
        durable: whether commits shall survive the machine too, not only the process.

    Yields: its store.
    Raises: RunError if it cannot be written to, or another process is writing to it.
    """
    with alone(directory), writing(directory / "outcomes.sqlite", directory, durable=durable) as store:
        yield store


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Makes a run directory if it is not there, and keeps other processes away from it.

    Raises: RunError if it cannot be written to, or another process is writing to it.
    """
    with disk(directory):
        directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / ".lock", directory):
        with disk(directory):
            sweep(directory)
        yield


@contextmanager
def locked(path: Path, directory: Path, *, wait: float = 0) -> Iterator[None]:
    """Keeps other processes away from a part of a run directory.

    Args:
        path: of the lock.
        directory: of the run.
        wait: for another process to end, in seconds.

    Raises: RunError if another process has the lock.
    """
    from filelock import FileLock, Timeout

    with disk(directory):
        lock = FileLock(path, timeout=wait)
        try:
            lock.acquire()
        except Timeout as error:
            raise RunError(
                f"another process is writing to {directory}: wait until it ends, or choose another directory"
            ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing(path: Path, directory: Path, *, durable: bool) -> Iterator[Store]:
    """Opens a database of a run directory for writing; it is made if it is not there."""
    with disk(directory):
        database = _connected(path, durable=durable)
    try:
        yield Store(directory, database, durable)
    finally:
        _closed(database)


def _connected(path: Path, *, durable: bool) -> sqlite3.Connection:
    """Opens the database with a write-ahead log, which does not wait for the disk at each commit.

    Where the file system has no shared memory for it (network drives), sqlite keeps its rollback journal instead.
    """
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {'NORMAL' if durable else 'OFF'}")
        database.executescript(SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def _closed(database: sqlite3.Connection) -> None:
    """Leaves one plain file, which can be read from anywhere."""
    try:
        database.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error:
        logging.getLogger(__name__).warning("the log of the outcomes stays beside them; the next session merges it")
    finally:
        database.close()


@contextmanager
def reading(directory: Path) -> Iterator[Reader]:
    """Opens the outcomes of a run to be read only.

    Raises: RunError if there are none.
    """
    path = directory / "outcomes.sqlite"
    if not path.is_file():
        raise RunError(f"{directory} holds no outcomes.sqlite: is it a run directory of robustlab?")
    with disk(directory):
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            yield Reader(database)
        finally:
            database.close()
