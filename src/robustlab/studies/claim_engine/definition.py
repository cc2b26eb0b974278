"""Values as text that is the same in every process and for every later version, and its hash."""

from __future__ import annotations

import hashlib
import re
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import partial

UNSAID = "unsaid"
"""In the metadata of a field whose default has changed: the value before, which results were filed under in silence."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def described(*values: object) -> str:
    """The values as somebody would write them, a line each: without what is left at its default.

    So a class may get another argument, with a default that changes nothing, and a result that was filed under the
    text before is found still. A default that changes needs more, see ``UNSAID``.
    """
    return "\n".join(map(_written, values))


def fingerprint(*values: object) -> str:
    """A short hash of values."""
    return hashlib.sha256(described(*values).encode()).hexdigest()[:16]


def _written(value: object) -> str:
    """One value, and what is inside it."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {f.name: getattr(value, f.name) for f in fields(value) if f.repr and not _default(f, value)}
        return f"{type(value).__name__}({_arguments((), named)})"
    if isinstance(value, partial):
        return f"partial({_written(value.func)}, {_arguments(value.args, value.keywords)})"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_written, value))})"
    return _ADDRESS.sub("", repr(value))


def _arguments(places: tuple[object, ...], names: dict[str, object]) -> str:
    return ", ".join([*map(_written, places), *(f"{name}={_written(value)}" for name, value in names.items())])


def _default(one: Field[object], owner: object) -> bool:
    """Whether a field holds what it holds if nothing is said: its default, or what its metadata call ``UNSAID``."""
    if UNSAID in one.metadata:
        return bool(getattr(owner, one.name) == one.metadata[UNSAID])
    if one.default_factory is not MISSING:
        return _written(getattr(owner, one.name)) == _written(one.default_factory())
    return one.default is not MISSING and _written(getattr(owner, one.name)) == _written(one.default)
