"""Outcomes on disk: rows in sqlite and x_adv in files, a whole batch at a time."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeAlias

from torch import Tensor

from robustlab.core import RunError
from robustlab.evaluation import queries
from robustlab.evaluation.plan import CLEAN, Phase
from robustlab.evaluation.queries import Reader, Value
from robustlab.evaluation.schema import ADDED, COUNTED, KEY, ON_TEXTS, SCHEMA, TEXT_KEY, finished
from robustlab.evaluation.sound import Batch, batch_content, unsound
from robustlab.runs.clock import Stopwatch
from robustlab.runs.disk import disk
from robustlab.runs.files import intact
from robustlab.runs.lock import alone
from robustlab.runs.tensors import write_tensors

Columns: TypeAlias = Mapping[str, list[Value]]
"""Equally long lists by column name."""

_TABLES = ("examples", "outcomes", "batches")
_NEW = f"{KEY} AND batch NOT IN (SELECT batch FROM main.batches WHERE {KEY})"


class Cost(NamedTuple):
    """Cost of a batch."""

    forward: int
    backward: int
    seconds: float


class TextCost(NamedTuple):
    """Cost of a batch of attacks on texts for the models."""

    texts: int
    """Texts that the victim scored; repeats came from memory."""
    victim: float
    """Seconds in the victim."""
    services: float
    """Seconds in other models, such as a sentence encoder."""


class Audit(NamedTuple):
    """Change of the meaning of a text by a successful attack; None: not measured."""

    attack: int
    id: int
    turned: int | None
    similarity: float | None


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
    _watch: Stopwatch = field(default_factory=Stopwatch, init=False)

    @property
    def begun(self) -> bool:
        """True once a session has worked on this run."""
        return queries.has_begun(self.reader)

    def claim(self, run: str, *, adopt: bool) -> None:
        """Records the run that the rows belong to.

        Args:
            run: its id.
            adopt: whether rows without the id of a run may be of this one, since an older version wrote them.

        Raises: RunError if they belong to another run.
        """
        with disk(self.directory):
            found, begun = queries.runs(self.reader), self.begun
        if found == [(run,)]:
            return
        if found or (begun and not adopt):
            path = queries.database_path(self.reader)
            raise RunError(
                f"{path} belongs to another run than the manifest.json of {self.directory}: choose another directory, "
                "or delete this file to repeat its part of the run"
            )
        with self.transaction():
            self.database.execute("INSERT INTO run VALUES (?)", (run,))

    def damaged(self) -> list[Batch]:
        """Batches whose rows or files differ from those that were committed."""
        with disk(self.directory):
            wrong = [
                tuple(key)
                for *key, name, expected in queries.kept_files(self.reader)
                if not intact(self.directory / str(name), expected)
            ]
            return [*wrong, *unsound(self.reader)]

    def begin(self, started: str, damaged: Sequence[Batch] = ()) -> None:
        """Files the start of a session, and drops damaged batches, so that they are redone.

        Outcomes by reuse follow from the rest, and are computed anew.
        """
        with self.transaction():
            for key in damaged:
                self._drop(key)
            self.database.execute("DELETE FROM outcomes WHERE kind = 'reused'")
            self.session = 1 + queries.last_session(self.reader)
            self.database.execute("INSERT INTO sessions VALUES (?, ?, 0)", (self.session, started))
        self._watch.start()

    def _drop(self, key: Batch) -> None:
        """Deletes a batch, its rows, and rows that only name it."""
        *phase, number = key
        if Phase(*phase) == CLEAN:
            self.database.execute("DELETE FROM examples WHERE batch IS ?", (number,))
            if number is None:  # an older version's rows, which do not say their batch
                self.database.execute(f"DELETE FROM batches WHERE {KEY} AND content IS NULL", phase)
        self.database.execute(f"DELETE FROM outcomes WHERE {KEY} AND batch = ?", key)
        self.database.execute(f"DELETE FROM texts WHERE {TEXT_KEY} AND batch = ?", key)
        self.database.execute(f"DELETE FROM batches WHERE {KEY} AND batch = ?", key)

    def done(self, phase: Phase, parts: Sequence[Tensor]) -> set[int]:
        """Numbers of the batches of a pass that are committed; those of other examples than it has are dropped.

        Args:
            phase: the pass.
            parts: ids of each of its batches.
        """
        found = queries.committed_numbers(self.reader, phase)
        if not found:
            return set()
        here = dict(self._batches(phase, parts))
        strange = [n for n in found if not 0 <= n < len(parts) or here.get(n) != parts[n].tolist()]
        with self.transaction() if strange else nullcontext():
            for number in strange:
                self._drop((*phase, number))
        return found.difference(strange)

    def _batches(self, phase: Phase, parts: Sequence[Tensor]) -> Iterator[tuple[int, list[int]]]:
        """The ids in each batch of a pass; for rows of older versions without a batch number, that of the plan."""
        rows = queries.ids_by_batch(self.reader, phase)
        if phase == CLEAN:
            places = {i: number for number, part in enumerate(parts) for i in part.tolist()}
            rows = ((places.get(i, -1) if number is None else number, i) for number, i in rows)
        for number, some in groupby(rows, key=itemgetter(0)):
            yield number, [i for _, i in some]

    def commit(
        self,
        phase: Phase,
        number: int,
        rows: Columns,
        cost: Cost,
        tensors: Mapping[str, Tensor] | None = None,
        *,
        spent: TextCost | None = None,
    ) -> None:
        """Writes a batch: first its file, then its rows in one transaction.

        Args:
            phase: the pass it belongs to.
            number: of the batch in its pass.
            rows: one entry per example and column of ``outcomes`` (``examples`` in the clean pass, ``texts`` in a pass
                over texts).
            cost: of the batch.
            tensors: kept in a file of ``adversarial/``; None or none: nothing is kept.
            spent: cost of attacks on texts.

        Raises: RunError if it cannot be written; then nothing of this batch is.
        """
        with disk(self.directory):
            name, digest = self._file(phase, number, tensors) if tensors else (None, None)
        with self.transaction():
            self._insert(phase, number, rows)
            ids = [int(i) for i in rows["id"] if i is not None]
            head = (len(ids), cost.forward, cost.backward, name, digest, float(cost.seconds))
            content = batch_content(self.reader, phase, number, ids, head)
            self.database.execute(f"INSERT INTO batches VALUES ({_marks(13)})", (*phase, number, *head, content))
            if spent is not None:
                place = (phase.attack, number, *spent)
                self.database.execute(f"INSERT OR REPLACE INTO spent VALUES ({_marks(5)})", place)
            self.spend()

    def put(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Writes tensors into a file of the run directory."""
        with disk(self.directory):
            write_tensors(self.directory / name, tensors)

    def name_files(self, ids: Tensor, names: Sequence[str]) -> None:
        """Records the file of each example."""
        with self.transaction():
            self.database.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?)", zip(ids.tolist(), names, strict=True)
            )

    def put_audits(self, audits: Sequence[Audit]) -> None:
        """Records what successful attacks on texts did to their meaning, in place of all that was recorded before."""
        with self.transaction():
            self.database.execute("DELETE FROM audits")
            self.database.executemany(f"INSERT INTO audits VALUES ({_marks(4)})", audits)

    def close_books(self) -> None:
        """Files the time since the last batch."""
        with self.transaction():
            self.spend()

    def spend(self) -> None:
        """Adds the time since the last call to this session."""
        spent = (self._watch.lap(), self.session)
        self.database.execute("UPDATE sessions SET seconds = seconds + ? WHERE session = ?", spent)

    def _file(self, phase: Phase, number: int, tensors: Mapping[str, Tensor]) -> tuple[str, bytes]:
        kind = f"{phase.kind}-{phase.stage}-{phase.restart}"
        name = f"adversarial/{phase.attack:02d}-eps{phase.eps!r}-{kind}-{number:06d}.safetensors"
        return name, write_tensors(self.directory / name, tensors)

    def _insert(self, phase: Phase, number: int, rows: Columns) -> None:
        place: dict[str, Value] = {**_columns(phase), "batch": number}
        names, table = [*place, *rows], _table(phase)
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({_marks(len(names))})"
        values = zip(*rows.values(), strict=True)
        self.database.executemany(statement, ((*place.values(), *row) for row in values))

    def reuse(self, attack: int, eps: float, smaller: float, *, targeted: bool) -> None:
        """Counts the examples that an attack finished at a smaller eps as finished at this one."""
        columns = "stage, restart, id, fooled, prediction, confidence, target, inside, linf, l2, l1, batch"
        with self.transaction():
            self.database.execute(
                f"INSERT OR IGNORE INTO outcomes (attack, eps, kind, {columns}) SELECT attack, ?, 'reused', {columns} "
                f"FROM outcomes WHERE attack = ? AND eps = ? AND {COUNTED} AND {finished(targeted=targeted)}",
                (eps, attack, smaller),
            )

    @contextmanager
    def attached(self, path: Path) -> Iterator[None]:
        """Inside the block, the database of a shard can be taken in."""
        with disk(self.directory):
            self.database.execute("ATTACH DATABASE ? AS shard", (str(path),))
        try:
            yield
        finally:
            with disk(self.directory):
                self.database.execute("DETACH DATABASE shard")

    def take_in_all(self) -> None:
        """Takes all rows of the attached shard."""
        with self.transaction():
            for table in _TABLES:
                self.database.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM shard.{table}")

    def take_in(self, phase: Phase) -> dict[int, Cost]:
        """Takes the new batches of a pass from the attached shard; returns their numbers and costs."""
        with self.transaction():
            columns = "batch, forward, backward, seconds"
            rows = self.reader.all(f"SELECT {columns} FROM shard.batches WHERE {_NEW}", *phase, *phase)
            if rows:
                self.database.execute("INSERT OR IGNORE INTO main.examples SELECT * FROM shard.examples")
                for table in ("outcomes", "batches"):
                    statement = f"INSERT INTO main.{table} SELECT * FROM shard.{table} WHERE {_NEW}"
                    self.database.execute(statement, (*phase, *phase))
        return {number: Cost(*cost) for number, *cost in rows}

    @property
    def reader(self) -> Reader:
        """Reader of the database, for queries."""
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


def _table(phase: Phase) -> str:
    """The table that has the rows of a pass."""
    return "examples" if phase == CLEAN else "texts" if phase.kind == ON_TEXTS else "outcomes"


def _columns(phase: Phase) -> dict[str, Value]:
    """Columns of a row that say its pass."""
    if phase == CLEAN:
        return {}
    return {"attack": phase.attack} if phase.kind == ON_TEXTS else phase._asdict()


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
        for table, column, kind in ADDED:
            if column not in {name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")}:
                database.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    except BaseException:
        database.close()
        raise
    return database


def _closed(database: sqlite3.Connection) -> None:
    """Leaves one plain file, which can be read from anywhere."""
    try:
        database.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error:
        logging.getLogger(__name__).warning(
            "the log of the outcomes stays in the run directory; the next session merges it"
        )
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
