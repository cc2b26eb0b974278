"""Directories of runs: a new one begins with its manifest, an existing one continues the same run only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from robustlab.core import RunError
from robustlab.runs.disk import disk
from robustlab.runs.json_files import write_json

M = TypeVar("M")
MANIFEST = "manifest.json"


def create_or_resume(
    directory: Path,
    content: Mapping[str, object],
    *,
    read: Callable[[Path], M],
    check: Callable[[M], None],
    free: Callable[[Path], None] | None = None,
    file: str = MANIFEST,
    durable: bool = True,
) -> M | None:
    """Writes the manifest of a new directory, or reads and checks the one that is there.

    Args:
        directory: locked by this process, see ``runs.lock.alone``.
        content: content of a new manifest.
        read: reads the manifest in a directory.
        check: raises for the manifest of another run, see ``runs.identity.check_same``.
        free: raises for a directory without a manifest that holds other files; None: that holds any file.
        file: name of the manifest.
        durable: True: a new manifest survives a stop of the machine too, not only of the process.

    Returns: the existing manifest; None: the directory is new.
    Raises: RunError for another run, for other files, or if the directory cannot be written.
    """
    path = directory / file
    if path.exists():
        before = read(directory)
        check(before)
        return before
    (free or check_empty)(directory)
    with disk(directory):
        write_json(path, content, durable=durable)
    return None


def check_empty(directory: Path) -> None:
    """Refuses a directory without a manifest that holds anything; names that begin with a dot do not count.

    Raises: RunError naming what it holds.
    """
    with disk(directory):
        others = sorted(one.name for one in directory.iterdir() if not one.name.startswith("."))
    if others:
        raise RunError(f"{directory} holds {others[0]} without a manifest: choose another directory")


@contextmanager
def readable(directory: Path, content: Mapping[str, object], schemas: Collection[int]) -> Iterator[None]:
    """Context of decoding the manifest of a run directory.

    Args:
        directory: of the run.
        content: of its ``manifest.json``.
        schemas: those that this version reads.

    Raises: RunError for another schema, and from a ValueError in the block.
    """
    try:
        if content.get("schema") not in schemas:
            known = ", ".join(map(str, schemas))
            raise ValueError(f"it has schema {content.get('schema')}, this version of robustlab reads {known}")
        yield
    except ValueError as error:
        raise RunError(
            f"{directory / 'manifest.json'} cannot be used: {error}; start over in a new directory"
        ) from error
