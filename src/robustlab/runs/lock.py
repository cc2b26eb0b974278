"""The lock of a directory: one process at a time works on what it holds."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustlab.core import RunError
from robustlab.runs.disk import check_own, disk
from robustlab.runs.files import sweep

_LOG = logging.getLogger(__name__)
LOCK = ".lock"
"""Name of the lock of a whole directory."""


@contextmanager
def alone(directory: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Makes a directory if it is not there, keeps other processes away from it, and sweeps what they left half written.

    Args:
        directory: of a run, or of other results.
        wait: seconds for another process to end; infinity: as long as it takes.

    Raises: RunError if it cannot be written to, holds a link that leads out of it, or another process writes to it.
    """
    with disk(directory):
        directory.mkdir(parents=True, exist_ok=True)
        check_own(directory)
    with locked(directory / LOCK, directory, wait=wait):
        with disk(directory):
            sweep(directory)
        yield


@contextmanager
def locked(path: Path, place: Path, *, wait: float = 0.0, needed: bool = True) -> Iterator[None]:
    """Keeps other processes away from a directory, or from a part of it.

    Args:
        path: of the lock; its folder is made if need be.
        place: what the lock is of, for messages.
        wait: seconds for another process to end; infinity: as long as it takes.
        needed: False where several may read what nobody can write: no lock then, and a warning.

    Raises: RunError if another process has the lock, or it cannot be written and is needed.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=-1 if math.isinf(wait) else wait)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        waited = f" (waited {wait:.0f} s)" if wait else ""
        raise RunError(
            f"another process is writing to {place}{waited}: wait until it ends, or choose another directory"
        ) from error
    except OSError as error:
        if needed:
            with disk(place):
                raise
        _LOG.warning("no lock at %s (%s)", path, error)
    try:
        yield
    finally:
        lock.release()
