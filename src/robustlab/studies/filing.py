"""Results of studies on disk: each is one JSON file, written whole, that says where it came from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from robustlab.core import RunError
from robustlab.runs.codec import decode
from robustlab.runs.files import write_atomically
from robustlab.runs.json_files import json_in
from robustlab.runs.provenance import versions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def installed() -> dict[str, str]:
    """Of what results depend on."""
    processor = f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    return {**versions(), "processor": processor}


@cache
def commit() -> str:
    """The commit that the source code is at; "" outside a repository, or without git."""
    if not _git("ls-files", "--error-unmatch", "__init__.py"):
        return ""  # installed somewhere inside another repository
    said = [_git("rev-parse", "--short=12", "HEAD"), _git("status", "--porcelain", "--untracked-files=no", "--", ".")]
    return f"{said[0]} modified" if said[0] and said[1] else said[0]


def _git(*words: str) -> str:
    source = Path(__file__).parents[1]
    try:
        done = subprocess.run(["git", *words], cwd=source, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def write(path: Path, record: DataclassInstance) -> Path:
    """Writes a result whole or not at all.

    Args:
        path: of its file.
        record: whose fields are what JSON knows.

    Returns: the path.
    Raises: RunError if the directory cannot be written.
    """
    text = json.dumps(asdict(record), indent=1, allow_nan=False) + "\n"
    try:
        write_atomically(path, text)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; what was done before is kept") from error
    return path


def read(path: Path, kind: type[R], what: str, sound: Callable[[R], bool]) -> R | None:
    """Reads a result.

    Args:
        path: of its file.
        kind: of the result.
        what: it is a result of, as errors say it.
        sound: whether it is the one that belongs there.

    Returns: None if there is no file.
    Raises: RunError for a file that is damaged, or of something else.
    """
    if not path.exists():
        return None
    try:
        found = cast("dict[str, Any]", json_in(path))
        decode(kind, found)  # for its types
        record = kind(**found)
        right = sound(record)
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is no result of {what} ({error}): remove it to have it computed again") from error
    if not right:
        raise RunError(f"{path} is the result of another unit: remove it to have it computed again")
    return record
