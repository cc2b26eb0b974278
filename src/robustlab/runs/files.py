"""Files that are put in place whole or not at all, and the digests that tell whether they are as they were written."""

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
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                found.update(piece)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return ""
    return found.hexdigest()


def with_usual_rights(path: Path, write: Callable[[Path], None]) -> None:
    """Lets ``write`` make a file that has the rights of any other new file there.

    Some libraries make their files readable for their owner alone.

    Args:
        path: where the file goes; one that is there keeps its rights.
        write: makes the file whose path it is given.

    Raises: OSError if it cannot be written.
    """
    path.touch()
    usual = stat.S_IMODE(path.stat().st_mode)
    write(path)
    if stat.S_IMODE(path.stat().st_mode) != usual:
        path.chmod(usual)


def replace_atomically(path: Path, write: Callable[[Path], None], *, durable: bool = True) -> None:
    """Lets ``write`` make a file beside ``path``, then puts it in place in one step: readers see the old or the new.

    Args:
        path: where the file goes; its folder is made if need be.
        write: makes the file whose path it is given.
        durable: also if the machine stops, not only the process.

    Raises: OSError if the folder cannot be written or the disk is full; what stood at ``path`` is still there.
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
    """Makes a folder beside ``path``, to be filled by the block, and puts it in place in one step when that ends well.

    Args:
        path: where the folder goes, which must not be there yet, or be empty.
        durable: also if the machine stops, not only the process.

    Yields: the folder to be filled.
    Raises: OSError if it cannot be written; then nothing is left of it.
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
    """The name of what is being written and is not whole yet."""
    return f"{name}.{secrets.token_hex(6)}.part"


def _synced(file: Path) -> None:
    """Waits until a file is on the disk."""
    with file.open("rb+") as written:
        os.fsync(written.fileno())


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Puts a file of this content in place in one step, see ``replace_atomically``."""

    def write(part: Path) -> None:
        with part.open("wb") as file:
            file.write(content)

    replace_atomically(path, write, durable=durable)


def write_atomically(path: Path, text: str) -> None:
    """Puts a text file in place in one step, see ``replace_atomically``."""
    write_bytes(path, text.encode())


def sweep(directory: Path, name: str = "") -> None:
    """Removes files and folders that a killed process left half written, in a directory and in its own folders.

    Args:
        directory: that nobody else writes to.
        name: of the only file or folder in it that nobody else writes to; empty: all of them, and those in its folders.
    """
    for folder, folders, files in os.walk(directory):
        for found in (*folders, *files):
            if _HALF_WRITTEN.search(found) and found.removeprefix(".").startswith(name):
                _removed(Path(folder, found))
        if name:
            break


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def digest(content: bytes | memoryview) -> bytes:
    """16 bytes that stand for some content."""
    return hashlib.blake2b(content, digest_size=16).digest()


def intact(path: Path, expected: bytes) -> bool:
    """Whether a file is there with the digest that was recorded."""
    return path.is_file() and digest(path.read_bytes()) == expected
