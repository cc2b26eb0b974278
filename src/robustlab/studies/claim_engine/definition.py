"""Values as text that is the same in every process and for every later version, and its hash."""

from __future__ import annotations

import hashlib
import re
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import partial
from types import FunctionType

from robustlab.runs.spellings import recorded_field, recorded_name, recorded_value

UNSAID = "unsaid"
"""Key in the metadata of a field whose default has changed: the former default, which older definitions leave out."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def described(*values: object) -> str:
    """The values as text, one line each, without fields that have their default.

    A class may therefore get another argument, with a default that changes nothing, and earlier results still count. A
    changed default needs ``UNSAID``; a changed name needs a line in ``runs.spellings``.
    """
    return "\n".join(map(_written, values))


def fingerprint(*values: object) -> str:
    """A short hash of values."""
    return hashlib.sha256(described(*values).encode()).hexdigest()[:16]


def _written(value: object) -> str:
    """One value with its parts, in its recorded spelling."""
    if is_dataclass(value) and not isinstance(value, type):
        owner = type(value).__name__
        named = {f.name: getattr(value, f.name) for f in fields(value) if f.repr and not _default(f, value)}
        return f"{recorded_name(owner)}({_arguments(owner, (), named)})"
    if isinstance(value, partial):
        owner = getattr(value.func, "__name__", "")
        return f"partial({_written(value.func)}, {_arguments(owner, value.args, value.keywords)})"
    if isinstance(value, tuple | list):
        names = getattr(value, "_fields", ("",) * len(value))
        parts = (recorded_value(type(value).__name__, *part) for part in zip(names, value, strict=True))
        return f"({', '.join(map(_written, parts))})"
    if isinstance(value, FunctionType):
        return f"<function {recorded_name(value.__qualname__)}>"
    if isinstance(value, type):
        return f"<class '{recorded_name(f'{value.__module__}.{value.__qualname__}')}'>"
    return _ADDRESS.sub("", repr(value))


def _arguments(owner: str, places: tuple[object, ...], names: dict[str, object]) -> str:
    """The arguments of a class or function with that name today."""
    spelt = {recorded_field(owner, name): recorded_value(owner, name, value) for name, value in names.items()}
    return ", ".join([*map(_written, places), *(f"{name}={_written(value)}" for name, value in spelt.items())])


def _default(one: Field[object], owner: object) -> bool:
    """True if a field has its default, or the one that its metadata name as ``UNSAID``."""
    if UNSAID in one.metadata:
        return bool(getattr(owner, one.name) == one.metadata[UNSAID])
    if one.default_factory is not MISSING:
        return _written(getattr(owner, one.name)) == _written(one.default_factory())
    return one.default is not MISSING and _written(getattr(owner, one.name)) == _written(one.default)
