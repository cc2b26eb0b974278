"""Results of studies on disk: each is one JSON file, written whole, that says where it came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from robustlab.core import RunError
from robustlab.runs.codec import decode
from robustlab.runs.files import write_atomically
from robustlab.runs.json_files import json_in

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")
_REMEDY = "remove it to have it computed again"


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


def read(path: Path, kind: type[R], what: str, sound: Callable[[R], bool], *, remedy: str = _REMEDY) -> R | None:
    """Reads a result.

    Args:
        path: of its file.
        kind: of the result.
        what: it is a result of, as errors say it.
        sound: whether it is the one that belongs there.
        remedy: what to do about a damaged file, as errors say it.

    Returns: None if there is no file.
    Raises: RunError for a file that is damaged, or of something else.
    """
    if not path.exists():
        return None
    try:
        record = typed_record(kind, json_in(path))
        right = sound(record)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is no result of {what} ({error}): {remedy}") from error
    if not right:
        raise RunError(f"{path} is the result of another unit: {remedy}")
    return record


def read_list(path: Path, kind: type[R], what: str) -> list[R]:
    """Reads results that are in one file.

    Returns: none if there is no file.
    Raises: RunError for a file that is damaged, or of something else.
    """
    if not path.exists():
        return []
    try:
        found = json_in(path)
        if not isinstance(found, list):
            raise ValueError("it holds no JSON list")
        return [typed_record(kind, one) for one in found]
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} holds no results of {what}: {error}") from error


def typed_record(kind: type[R], found: object) -> R:
    """A result from the JSON value that says it; whole numbers stay whole where any number may stand.

    Raises: ValueError or TypeError for a value of another kind, and for names that the result does not have.
    """
    if not isinstance(found, dict):
        raise ValueError("it holds no JSON object")
    typed = decode(kind, found)
    return kind(
        **{
            name: getattr(typed, name) if isinstance(v, list) and hasattr(typed, name) else v
            for name, v in found.items()
        }
    )
