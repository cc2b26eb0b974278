"""Frozen dataclasses to plain JSON values and back, by their type hints."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from robustlab.core.text import printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def encode(value: DataclassInstance) -> dict[str, object]:
    """Dataclass to dict; tuples become lists, NaN and infinities None; fields that do not compare are left out."""
    return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.compare}


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return encode(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def decode(kind: type[T], data: Mapping[str, object]) -> T:
    """Dict to dataclass ``kind``; None becomes NaN where a float belongs; unknown keys are left out.

    Raises: ValueError where a field without default is missing, or has another type.
    """
    hints = get_type_hints(kind)
    values: dict[str, object] = {}
    for f in fields(kind):  # type: ignore[arg-type]  # kind is a dataclass type, which TypeVar cannot say
        if not f.compare:
            continue
        if f.name in data:
            values[f.name] = _typed(hints[f.name], data[f.name], f"{kind.__name__}.{f.name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ValueError(
                f"{kind.__name__} has no {f.name!r}: the file is not complete or is no result of robustlab"
            )
    return kind(**values)


def _typed(hint: object, value: object, where: str) -> object:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _one_of(hint, value, where)
    if origin is tuple:
        return _tuple(get_args(hint), _expect(list, value, where), where)
    if origin is dict:
        item = get_args(hint)[1]
        return {printable(key): _typed(item, v, where) for key, v in _expect(dict, value, where).items()}
    if origin is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{where} is {value!r}, expected one of {get_args(hint)}")
        return value
    return _scalar(hint, value, where)


def _one_of(hint: object, value: object, where: str) -> object:
    options = get_args(hint)
    if value is None and type(None) in options:
        return None
    if {float, int, str} <= set(options):
        return math.nan if value is None else _shown(_expect((float, int, str), value, where))
    return _typed(next(o for o in options if o is not type(None)), value, where)


def _tuple(items: tuple[object, ...], value: list[object], where: str) -> tuple[object, ...]:
    if items[-1] is Ellipsis:
        return tuple(_typed(items[0], v, where) for v in value)
    if len(items) != len(value):
        raise ValueError(f"{where} has {len(value)} parts, expected {len(items)}")
    return tuple(_typed(h, v, where) for h, v in zip(items, value, strict=True))


def _scalar(hint: object, value: object, where: str) -> object:
    if not isinstance(hint, type):
        raise TypeError(f"{where}: cannot read a {hint}")
    if is_dataclass(hint):
        return decode(hint, _expect(dict, value, where))
    if hint is float:
        try:
            if value is None and where.endswith(".eps"):
                raise ValueError(f"{where} is missing")
            return math.nan if value is None else float(_expect((int, float), value, where))
        except OverflowError:
            raise ValueError(f"{where} is larger than any float") from None
    return _shown(_expect(hint, value, where))


def _shown(value: object) -> object:
    """A value of an untrusted file, without the control characters of a terminal."""
    return printable(value) if isinstance(value, str) else value


def _expect(kind: type[T] | tuple[type[T], ...], value: object, where: str) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"{where} is {value!r}, expected {kind}")
    return value
