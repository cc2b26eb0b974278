"""Messages for errors of a disk, and checks for links to files outside a directory."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustlab.core import RunError

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


@contextmanager
def disk(directory: Path) -> Iterator[None]:
    """Turns errors of a run directory into messages with a remedy; finished results are kept.

    Raises: RunError for every OSError and database error.
    """
    try:
        yield
    except sqlite3.Error as error:
        if (fault := _damage(error)) is not None:
            raise RunError(
                f"the database in {directory} is {fault} ({error}): delete its outcomes.sqlite to have all of the "
                "run done anew, or choose another directory"
            ) from error
        raise RunError(f"{_reason(error, directory)}; what is finished is kept, the same call goes on") from error
    except OSError as error:
        raise RunError(f"{_reason(error, directory)}; what is finished is kept, the same call goes on") from error


def _reason(error: OSError | sqlite3.Error, directory: Path) -> str:
    number = error.errno if isinstance(error, OSError) else None
    code = getattr(error, "sqlite_errorcode", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or code == sqlite3.SQLITE_FULL:
        return f"the disk is full, nothing more can be written to {directory}: free some space"
    if number in _REFUSED or code == sqlite3.SQLITE_READONLY:
        return f"{directory} cannot be written to ({error}): choose another directory or change its permissions"
    return f"{directory} cannot be used ({error})"


def _damage(error: sqlite3.Error) -> str | None:
    """Fault of the content of a database; None for other errors."""
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "damaged"
    foreign = "no such column", "no such table", "has no column", "values were supplied"
    strange = code == sqlite3.SQLITE_ERROR and any(words in str(error) for words in foreign)
    return "not one of this version of robustlab" if strange else None


def inside(directory: Path, name: str) -> Path:
    """Path of a file whose name is recorded in a file of a run.

    Raises: RunError for a name of a file outside the run's directory.
    """
    path = directory / name
    if not path.resolve().is_relative_to(directory.resolve()):
        raise RunError(
            f"{directory} names {name!r}, which is outside it: its files were changed, use another directory"
        )
    return path


def check_own(directory: Path) -> None:
    """Checks that a run's directory has no links to other places, before files are written or removed there.

    Raises: RunError for a link to another place.
    """
    home = directory.resolve()
    for path in directory.iterdir():
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            raise RunError(f"{path} is a link that leads out of the run's directory: put its files there instead")
