"""Results of studies on disk: each is one JSON file, written atomically, with its provenance."""

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
        record: dataclass with fields of JSON types.

    Returns: the path.
    Raises: RunError if the directory cannot be written.
    """
    text = json.dumps(asdict(record), indent=1, allow_nan=False) + "\n"
    try:
        write_atomically(path, text)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror}; choose another directory (finished results are kept)"
        ) from error
    return path


def read(path: Path, kind: type[R], what: str, sound: Callable[[R], bool], *, remedy: str = _REMEDY) -> R | None:
    """Reads a result.

    Args:
        path: of its file.
        kind: of the result.
        what: name of the study in error messages.
        sound: returns True for the result that belongs there.
        remedy: remedy for a damaged file in error messages.

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
    """Reads the results in one file.

    Returns: an empty list if there is no file.
    Raises: RunError for a file that is damaged, or of something else.
    """
    if not path.exists():
        return []
    try:
        value = json_in(path)
        if not isinstance(value, list):
            raise ValueError("it holds no JSON list")
        return [typed_record(kind, one) for one in value]
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} holds no results of {what}: {error}") from error


def typed_record(kind: type[R], value: object) -> R:
    """A result from its JSON value; whole numbers stay whole in fields for any number.

    Raises: ValueError or TypeError for a value of another kind, and for names that the result does not have.
    """
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    typed = decode(kind, value)
    return kind(
        **{
            name: getattr(typed, name) if isinstance(v, list) and hasattr(typed, name) else v
            for name, v in value.items()
        }
    )
