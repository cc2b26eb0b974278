"""The lock of a directory: one process at a time works in it."""

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
    """Makes a directory if it does not exist, locks it, and removes files that other processes left half written.

    Args:
        directory: of a run, or of other results.
        wait: seconds to wait for another process; infinity: without limit.

    Raises: RunError if it cannot be written to, has a link to another place, or another process writes to it.
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
    """Locks a directory, or a part of it, against other processes.

    Args:
        path: path of the lock; its folder is made if it does not exist.
        place: locked directory, for messages.
        wait: seconds to wait for another process; infinity: without limit.
        needed: False for data that are only read: if the lock cannot be written, there is a warning instead.

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
