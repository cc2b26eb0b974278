"""Writing files so that a reader, or a run that is killed, never sees half of one."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path


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
