"""Files of a run directory: written whole or not at all, and what the disk says put into words."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from robustlab.core import RunError
from robustlab.runs.files import json_in

_PARTIAL = ".partial"


@contextmanager
def disk(directory: Path) -> Iterator[None]:
    """Says what went wrong with a run directory, and that nothing is lost.

    Raises: RunError for every OSError and database error.
    """
    try:
        yield
    except sqlite3.Error as error:
        if (what := _damage(error)) is not None:
            raise RunError(
                f"the database in {directory} is {what} ({error}): delete its outcomes.sqlite to have all of the "
                "run done anew, or choose another directory"
            ) from error
        raise RunError(f"{_reason(error, directory)}; finished batches are kept, the same call goes on") from error
    except OSError as error:
        raise RunError(f"{_reason(error, directory)}; finished batches are kept, the same call goes on") from error


def _reason(error: OSError | sqlite3.Error, directory: Path) -> str:
    number = error.errno if isinstance(error, OSError) else None
    code = getattr(error, "sqlite_errorcode", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or code == sqlite3.SQLITE_FULL:
        return f"the disk is full, nothing more can be written to {directory}: free some space"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or code == sqlite3.SQLITE_READONLY:
        return f"{directory} cannot be written to ({error}): choose another directory or change its permissions"
    return f"the run directory {directory} failed ({error})"


def _damage(error: sqlite3.Error) -> str | None:
    """What is wrong with the content of a database; None if it is something else."""
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "damaged"
    foreign = "no such column", "no such table", "has no column", "values were supplied"
    strange = code == sqlite3.SQLITE_ERROR and any(words in str(error) for words in foreign)
    return "not one of this version of robustlab" if strange else None


def write_bytes(path: Path, content: bytes, *, durable: bool) -> None:
    """Writes a file so that it is there whole or not at all; ``durable``: also if the machine stops."""
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, object], *, durable: bool) -> None:
    """Writes a JSON file; NaN is refused."""
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode(), durable=durable)


def read_json(path: Path) -> dict[str, object]:
    """Reads a JSON object.

    Raises: RunError if there is none, or it is damaged.
    """
    try:
        content = json_in(path)
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}): is {path.parent} a run directory?") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}): start over in a new directory") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} holds no JSON object: start over in a new directory")
    return content


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> bytes:
    """Writes tensors as safetensors; not waiting for the disk, since the digest shows what a power cut took.

    Returns: a digest of the file.
    """
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, content, durable=False)
    return digest(content)


def inside(directory: Path, name: str) -> Path:
    """The path of a file that a file of a run names.

    Raises: RunError for a name that leads out of the run's directory.
    """
    path = directory / name
    if not path.resolve().is_relative_to(directory.resolve()):
        raise RunError(f"{directory} names {name!r}, which is not in it: somebody changed its files, do not trust them")
    return path


def check_own(directory: Path) -> None:
    """Looks whether all of a run's directory is in it, before something is written or removed there.

    Raises: RunError for a link that leads elsewhere.
    """
    home = directory.resolve()
    for path in directory.iterdir():
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            raise RunError(f"{path} is a link that leads out of the run's directory: put its files there instead")


def read_tensors(path: Path, *names: str) -> dict[str, Tensor]:
    """Reads tensors that ``write_tensors`` wrote.

    Args:
        path: of the file.
        *names: of tensors that must be there.

    Raises: RunError if the file is missing or damaged, or lacks a tensor.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read ({error}): run the evaluation again to have it written anew") from error
    lacking = [name for name in names if name not in found]
    if lacking:
        raise RunError(f"{path} lacks {', '.join(lacking)}: run the evaluation again to have it written anew")
    return found


def read_row(path: Path, number: int) -> Tensor:
    """The x_adv of one example in a file of a batch; the rest of the file is not read.

    Raises: RunError if the file is missing or damaged, or the example is not in it.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            row = int((file.get_tensor("ids") == number).nonzero()[0, 0])
            found: Tensor = file.get_slice("x_adv")[row]
    except (OSError, SafetensorError, IndexError) as error:
        raise RunError(f"{path} cannot be read ({error}): run the evaluation again to have it written anew") from error
    return found


def intact(path: Path, expected: bytes) -> bool:
    """Whether a file is there with the digest that was recorded."""
    return path.is_file() and digest(path.read_bytes()) == expected


def digest(content: bytes | memoryview) -> bytes:
    """16 bytes that stand for some content."""
    return hashlib.blake2b(content, digest_size=16).digest()


def sweep(directory: Path) -> None:
    """Removes what a killed process left half written."""
    for path in (*directory.glob("*" + _PARTIAL), *directory.glob("*/*" + _PARTIAL)):
        path.unlink(missing_ok=True)
