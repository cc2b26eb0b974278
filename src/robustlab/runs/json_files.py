"""JSON in files: safe reading of untrusted files, and atomic writing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from robustlab.core import RunError
from robustlab.runs.files import write_bytes

_LARGEST = 1 << 28  # bytes of a JSON file
_DEEPEST = 100  # lists and objects inside each other
_HALF = re.compile(r"\\u[dD][89abAB]", re.ASCII)


def parsed(text: str, *, most: int = _LARGEST, halves: bool = False) -> object:
    """The value of a JSON text, which may be untrusted.

    Args:
        text: JSON of any source.
        most: largest number of characters.
        halves: whether it may hold half a character (a lone surrogate), as the text of a user may.

    Raises: ValueError, in one line, if it is no JSON, too long, nested too deep, or holds half a character.
    """
    if len(text) > most:
        raise ValueError(f"it has {len(text):,} characters, at most {most:,} are read")
    try:
        value: object = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if _depth(value) > _DEEPEST:
        raise ValueError("it is nested too deep")
    if not halves and _HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("it holds half of a character") from None
    return value


def _depth(value: object) -> int:
    """Lists and objects inside each other."""
    level, count = [value], 0
    while level:
        level = [part for one in level if isinstance(one, dict | list) for part in _parts(one)]
        count += 1
    return count


def _parts(held: dict[str, object] | list[object]) -> Iterable[object]:
    return held.values() if isinstance(held, dict) else held


def json_in(path: Path, *, most: int = _LARGEST) -> object:
    """Reads the value in a JSON file.

    Raises: OSError if it cannot be read; ValueError as ``parsed``.
    """
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"it has {size:,} bytes, at most {most:,} are read")
    return parsed(path.read_text(encoding="utf-8"), most=most)


def write_json(path: Path, content: Mapping[str, object], *, durable: bool) -> None:
    """Writes a JSON file; NaN is refused."""
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode(), durable=durable)


def object_in(path: Path) -> dict[str, object]:
    """The JSON object in a file.

    Raises: OSError if it cannot be read; ValueError as ``parsed``, or if the file holds something else.
    """
    value = json_in(path)
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    return value


def read_json(path: Path, *, remedy: str = "start over in a new directory") -> dict[str, object]:
    """Reads a JSON object of a run.

    Args:
        path: of the file.
        remedy: remedy for a damaged file in error messages.

    Raises: RunError if there is none, or it is damaged.
    """
    try:
        return object_in(path)
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}): is {path.parent} a run directory?") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}): {remedy}") from error
