"""Writing files so that a reader, or a run that is killed, never sees half of one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

_LARGEST = 1 << 28  # bytes of a JSON file
_DEEPEST = 100  # lists and objects inside each other
_HALF = re.compile(r"\\u[dD][89abAB]", re.ASCII)
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


def replace_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Lets ``write`` make a file beside ``path``, then puts it in place in one step: readers see the old or the new.

    Args:
        path: where the file goes; its folder is made if need be.
        write: makes the file whose path it is given.

    Raises: OSError if the folder cannot be written or the disk is full; what stood at ``path`` is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(6)}.part")
    try:
        with_usual_rights(part, write)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Puts a text file in place in one step, see ``replace_atomically``."""

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    replace_atomically(path, write)


def parsed(text: str, *, most: int = _LARGEST) -> object:
    """The value that a JSON text says; a text of any content is safe to be read.

    Args:
        text: somebody's.
        most: characters that are read at all.

    Raises: ValueError, in one line, if it is no JSON, too long, nested too deep, or holds half a character.
    """
    if len(text) > most:
        raise ValueError(f"it has {len(text):,} characters, no more than {most:,} are read")
    try:
        found: object = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if _depth(found) > _DEEPEST:
        raise ValueError("it is nested too deep")
    if _HALF.search(text):
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("it holds half of a character") from None
    return found


def _depth(found: object) -> int:
    """Lists and objects inside each other."""
    level, count = [found], 0
    while level:
        level = [part for one in level if isinstance(one, dict | list) for part in _parts(one)]
        count += 1
    return count


def _parts(held: dict[str, object] | list[object]) -> Iterable[object]:
    return held.values() if isinstance(held, dict) else held


def json_in(path: Path, *, most: int = _LARGEST) -> object:
    """The value in a JSON file.

    Raises: OSError if it cannot be read; ValueError as ``parsed``.
    """
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"it has {size:,} bytes, no more than {most:,} are read")
    return parsed(path.read_text(encoding="utf-8"), most=most)
