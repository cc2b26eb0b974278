"""Outcomes of the other processes: one database each; the first process takes its batches into the run.

A shard is written in the same way as the run, a whole batch at a time, so that nothing is lost if its process ends.
The next process that opens the run takes in the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robustlab.evaluation.plan import Phase
from robustlab.evaluation.store import Cost, Store, writing
from robustlab.runs.disk import disk
from robustlab.runs.lock import locked

_WAIT = 20.0
"""Seconds for a process of an earlier session to notice that the others have ended."""


def path_of(directory: Path, rank: int) -> Path:
    """Path of the outcomes of a process."""
    return directory / "shards" / f"{rank}.sqlite"


@contextmanager
def shard(directory: Path, rank: int, run: str) -> Iterator[Store]:
    """Opens the shard of a process for writing; at the end of the block, when it was taken in, it is removed.

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
    """Takes the shards that earlier sessions left into the run, and removes them.

    Args:
        store: of the run.
        run: its id.
        adopt: whether shards without the id of a run may be of this one, since an older version wrote them.

    Raises: RunError if one of their processes is still at work, or they are of another run.
    """
    for path in sorted(store.directory.glob("shards/*.sqlite")):
        with locked(path.with_suffix(".lock"), store.directory, wait=_WAIT):
            with writing(path, store.directory, durable=True) as part:  # completes what was about to be written
                part.claim(run, adopt=adopt)
            with store.attached(path):
                store.take_in_all()
            path.unlink()
        _tidied(path)


def take_in(store: Store, phase: Phase, rank: int) -> dict[int, Cost]:
    """Takes the batches of a pass that a process has committed since the last time into the run.

    Returns: their numbers, and the cost of each.
    """
    with store.attached(path_of(store.directory, rank)):
        return store.take_in(phase)


def _tidied(path: Path) -> None:
    """Removes the lock of a removed shard, and the folder after the last."""
    with suppress(OSError):
        path.with_suffix(".lock").unlink(missing_ok=True)
        path.parent.rmdir()
