"""What other processes than the first find out: a database each, whose batches the first takes into the run's own.

A shard is written in the same way as the run, a whole batch at a time, so that nothing is lost if its process ends.
Whoever opens the run next takes in what is left of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robustlab.evaluation.plan import Pass
from robustlab.evaluation.queries import KEY
from robustlab.evaluation.store import Cost, Store, locked, writing
from robustlab.runs.run_files import disk

_WAIT = 20.0
"""Seconds for a process of an earlier session to notice that the others have ended."""
_TABLES = ("examples", "outcomes", "batches")
_NEW = f"{KEY} AND batch NOT IN (SELECT batch FROM main.batches WHERE {KEY})"


def path_of(directory: Path, rank: int) -> Path:
    """Where a process keeps its outcomes."""
    return directory / "shards" / f"{rank}.sqlite"


@contextmanager
def shard(directory: Path, rank: int, run: str) -> Iterator[Store]:
    """Opens the shard of a process for writing; when the block ends well, it is taken in already, and is removed.

    Args:
        directory: of the run.
        rank: of the process.
        run: id of the run.

    Raises: RunError if it cannot be written to, or another process is writing to it.
    """
    path = path_of(directory, rank)
    with disk(directory):
        path.parent.mkdir(exist_ok=True)
    with locked(path.with_suffix(".lock"), directory):
        with writing(path, directory, durable=True) as store:
            store.claim(run, adopt=False)
            yield store
        path.unlink()
    _tidied(path)


def take_in_all(store: Store, run: str, *, adopt: bool) -> None:
    """Takes what earlier sessions left in shards into the run, and removes them.

    Args:
        store: of the run.
        run: its id.
        adopt: whether shards that do not say whose they are may be of this run, since an older version wrote them.

    Raises: RunError if one of their processes is still at work, or they are of another run.
    """
    for path in sorted(store.directory.glob("shards/*.sqlite")):
        with locked(path.with_suffix(".lock"), store.directory, wait=_WAIT):
            with writing(path, store.directory, durable=True) as part:  # completes what was about to be written
                part.claim(run, adopt=adopt)
            with _attached(store, path), store.transaction():
                for table in _TABLES:
                    store.database.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM shard.{table}")
            path.unlink()
        _tidied(path)


def take_in(store: Store, passed: Pass, rank: int) -> dict[int, Cost]:
    """Takes the batches of a pass that a process has committed since the last time into the run.

    Returns: their numbers, and what each took.
    """
    with _attached(store, path_of(store.directory, rank)), store.transaction():
        columns = "batch, forward, backward, seconds"
        rows = store.reader.all(f"SELECT {columns} FROM shard.batches WHERE {_NEW}", *passed, *passed)
        if rows:
            store.database.execute("INSERT OR IGNORE INTO main.examples SELECT * FROM shard.examples")
            for table in ("outcomes", "batches"):
                store.database.execute(
                    f"INSERT INTO main.{table} SELECT * FROM shard.{table} WHERE {_NEW}", (*passed, *passed)
                )
    return {number: Cost(*cost) for number, *cost in rows}


def _tidied(path: Path) -> None:
    """Removes the lock of a shard that is gone, and the folder after the last."""
    with suppress(OSError):
        path.with_suffix(".lock").unlink(missing_ok=True)
        path.parent.rmdir()


@contextmanager
def _attached(store: Store, path: Path) -> Iterator[None]:
    """Lets statements of the run's database name the shard."""
    with disk(store.directory):
        store.database.execute("ATTACH DATABASE ? AS shard", (str(path),))
    try:
        yield
    finally:
        with disk(store.directory):
            store.database.execute("DETACH DATABASE shard")
