"""Atomic writes of files and folders, and digests that show changes since they were written."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HALF_WRITTEN = re.compile(r"\.[0-9a-f]{12}\.part$|\.partial$")  # the latter by older versions
_PIECE = 1 << 22  # bytes


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces; empty if there is no such file."""
    sha256 = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                sha256.update(piece)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return ""
    return sha256.hexdigest()


def with_usual_rights(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a file by a function, with the rights of any other new file there.

    Some libraries make their files readable for their owner alone.

    Args:
        path: path of the file; an existing file keeps its rights.
        write: function that writes the file at a path.

    Raises: OSError if it cannot be written.
    """
    path.touch()
    usual = stat.S_IMODE(path.stat().st_mode)
    write(path)
    if stat.S_IMODE(path.stat().st_mode) != usual:
        path.chmod(usual)


def replace_atomically(path: Path, write: Callable[[Path], None], *, durable: bool = True) -> None:
    """Writes a file by a function, then moves it into place in one step: readers see the old one or the new one.

    Args:
        path: path of the file; its folder is made if it does not exist.
        write: function that writes the file at a path.
        durable: True: the file survives a stop of the machine too, not only of the process.

    Raises: OSError if the folder cannot be written or the disk is full; an earlier file at ``path`` is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(_part(path.name))
    try:
        with_usual_rights(part, write)
        if durable:
            _synced(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Makes a folder next to ``path`` for the block to fill, and moves it into place in one step if the block succeeds.

    Args:
        path: path of the folder, which must not exist, or be empty.
        durable: True: the folder survives a stop of the machine too, not only of the process.

    Yields: the folder to be filled.
    Raises: OSError if it cannot be written; then the folder is removed.
    """
    part = path.with_name(f".{_part(path.name)}")
    try:
        part.mkdir(parents=True)
        yield part
        for file in part.rglob("*") if durable else ():
            if file.is_file():
                _synced(file)
        os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _part(name: str) -> str:
    """Name of an unfinished file."""
    return f"{name}.{secrets.token_hex(6)}.part"


def _synced(file: Path) -> None:
    """Waits until a file is on the disk."""
    with file.open("rb+") as written:
        os.fsync(written.fileno())


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file of this content in one step, see ``replace_atomically``."""

    def write(part: Path) -> None:
        with part.open("wb") as file:
            file.write(content)

    replace_atomically(path, write, durable=durable)


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file in one step, see ``replace_atomically``."""
    write_bytes(path, text.encode())


def sweep(directory: Path, name: str = "") -> None:
    """Removes files and folders that a killed process left half written, in a directory and in its own folders.

    Args:
        directory: directory without another writer.
        name: only file or folder in it to clean up after; empty: all of them, and those in its folders.
    """
    for folder, folders, files in os.walk(directory):
        for one in (*folders, *files):
            if _HALF_WRITTEN.search(one) and one.removeprefix(".").startswith(name):
                _removed(Path(folder, one))
        if name:
            break


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def digest(content: bytes | memoryview) -> bytes:
    """Digest of some content, 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


def intact(path: Path, expected: bytes) -> bool:
    """Returns True if a file exists and has the recorded digest."""
    return path.is_file() and digest(path.read_bytes()) == expected
