"""Type checks of public functions: an argument of the wrong kind raises an error that shows it.

The annotations of a function or dataclass say what its arguments must be. Numbers of NumPy and torch count as what they
are: ``steps=np.int64(40)`` is 40.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections import abc
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin

import torch
from torch import Tensor, nn

from robustlab.core.user_code import no_model, spoken

T = TypeVar("T")
_CHECKED_LATER = frozenset({"y", "ids", "target", "targets", "labels", "texts", "eps"})
_MOST = 100
"""Elements of a sequence that are checked."""
_SMALLEST, _LARGEST, _SEEDS = -(1 << 63), 1 << 63, 1 << 64
_CONTAINERS = (abc.Sequence, abc.Collection, abc.Iterable, abc.Set, list, set, frozenset)
_PLAIN = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", type(None): "None"}


class Kind(NamedTuple):
    """Requirement on an argument: words for messages and a check."""

    words: str
    fits: Callable[[object], bool]
    types: frozenset[object] = frozenset()
    """The plain types among what it may be."""


def typed(thing: T) -> T:
    """Decorator of a function or dataclass: checks arguments against their annotations.

    Kinds that cannot be checked, such as protocols of functions alone, pass; missing arguments are left to Python's own
    error.

    Raises: ValueError, when called, for the first argument of another kind.
    """
    if isinstance(thing, type):
        thing.__init__ = _checked(thing.__init__, thing.__name__)  # type: ignore[misc]
        return cast(T, thing)
    return cast(T, _checked(cast("Callable[..., object]", thing), getattr(thing, "__name__", "")))


def _checked(function: Callable[..., object], name: str) -> Callable[..., object]:
    names = list(inspect.signature(function).parameters)
    kinds: dict[str, Kind] = {}

    @functools.wraps(function)
    def call(*given: object, **named: object) -> object:
        if not kinds:
            kinds.update(_kinds(function))
        door = type(given[0]).__name__ if given and names[0] == "self" else name
        values = [_checked_value(door, key, value, kinds) for key, value in zip(names, given, strict=False)]
        values += given[len(values) :]
        others = {key: _checked_value(door, key, value, kinds) for key, value in named.items()}
        try:
            return function(*values, **others)
        except (TypeError, ValueError, AttributeError, IndexError, KeyError, RuntimeError) as error:
            message = (
                None if spoken(error) else _missed_fault({**dict(zip(names, given, strict=False)), **named}, kinds)
            )
            if message is None:
                raise
            raise ValueError(f"{door}: {message}") from error

    return call


def _checked_value(name: str, key: str, value: object, kinds: dict[str, Kind]) -> object:
    """The value; scalars of NumPy and torch become plain numbers.

    Raises: ValueError if it is of another kind.
    """
    kind = kinds.get(key)
    if kind is None or (checked_later(key, kind) and not isinstance(value, type)):
        return value
    if kind.types & {int, float, bool} and not kind.fits(value):
        value = _number(value)
    if not kind.fits(value):
        raise ValueError(f"{name}: {key} must be {kind.words}, got {seen(value)}{_hint(value, kind)}")
    if isinstance(value, int) and not _SMALLEST <= value < (_SEEDS if key == "seed" else _LARGEST):
        raise ValueError(f"{name}: {key} must fit 64 bits, got {value}")
    return value


def checked_later(key: str, kind: Kind) -> bool:
    """True for arguments that functions check themselves with a better message, such as labels."""
    return key in _CHECKED_LATER and (Tensor in kind.types or "sequence" in kind.words)


def _missed_fault(given: dict[str, object], kinds: dict[str, Kind]) -> str | None:
    """Fault of the first argument that was left unchecked; None if all are right."""
    for key, value in given.items():
        kind = kinds.get(key)
        if kind is not None and checked_later(key, kind) and not kind.fits(value):
            return f"{key} must be {kind.words}, got {seen(value)}{_hint(value, kind)}"
    return None


def checked_kind(door: str, key: str, value: object, annotation: object) -> None:
    """Checks one argument against an annotation, in a function that checks the others itself.

    Raises: ValueError if it is of another kind.
    """
    kind = kind_of(annotation)
    _checked_value(door, key, value, {key: kind} if kind is not None else {})


def _number(value: object) -> object:
    """The plain number in a scalar of NumPy or torch; anything else unchanged."""
    scalar = getattr(value, "shape", None) == () and getattr(type(value), "__module__", "") in ("numpy", "torch")
    return cast("Callable[[], object]", value.item)() if scalar else value  # type: ignore[attr-defined]


def seen(value: object) -> str:
    """A short description of an argument."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape = getattr(value, "shape", None)
    if shape is not None and not isinstance(value, nn.Module):
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    if isinstance(value, tuple | list) and all(isinstance(one, int | float | str | None) for one in value):
        return _short(value)
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return _short(value)
    return f"a {type(value).__name__}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def _hint(value: object, kind: Kind) -> str:
    if isinstance(value, type):
        return f": give an instance, {value.__name__}()"
    if type(value).__module__ == "numpy" and Tensor in kind.types:
        return ": write torch.as_tensor(...)"
    if isinstance(value, str) and kind.types & {int, float}:
        return ": write the number without quotes"
    if nn.Module in kind.types:
        sentence = no_model(value)
        return f": {sentence.partition(': ')[2]}" if ": " in sentence else ""
    return ": write Linf(), L2() or L1()" if kind.words == "a Norm" else ""


def _kinds(function: Callable[..., object]) -> dict[str, Kind]:
    """Kinds of the parameters that can be checked, by name."""
    found: dict[str, Kind] = {"": Kind("", lambda _: True)}
    home = {**vars(typing), **vars(sys.modules[function.__module__])} if function.__module__ in sys.modules else {}
    for key, annotation in inspect.get_annotations(function).items():
        kind = kind_of(_resolved(annotation, home)) if key != "return" else None
        if kind is not None:
            found[key] = kind
    return found


def _resolved(annotation: object, home: dict[str, Any]) -> object:
    """The type of an annotation; ``object`` if its names exist for type checkers only."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, home)  # noqa: S307 -- our own annotations
    except (NameError, AttributeError, TypeError):
        return object


def kind_of(annotation: object) -> Kind | None:
    """The kind of an annotation; None if any value fits, or none can be checked."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is None or (isinstance(annotation, type) and annotation in _PLAIN):
        return _plain(type(None) if annotation is None else annotation)
    if origin in (Union, types.UnionType):
        return _any_of([kind_of(part) for part in parts])
    if origin is Literal:
        words = f"one of {', '.join(map(str, parts))}"
        return Kind(words, lambda value: isinstance(value, str | int | None) and value in parts, frozenset({str}))
    if origin is abc.Callable or annotation is abc.Callable:
        return _function(annotation)
    if origin is tuple:
        return _tuple(parts)
    if origin in _CONTAINERS or annotation in _CONTAINERS:
        return _sequence(parts)
    if origin in (abc.Mapping, dict) or annotation in (abc.Mapping, dict):
        return Kind("a mapping", lambda value: isinstance(value, abc.Mapping))
    return _class(annotation) if isinstance(annotation, type) else None


def _plain(annotation: type) -> Kind:
    def fits(value: object) -> bool:
        if annotation is float:
            return isinstance(value, int | float) and not isinstance(value, bool)
        return isinstance(value, annotation) and (annotation is bool or not isinstance(value, bool))

    return Kind(_PLAIN[annotation], fits, frozenset({annotation}))


def _any_of(kinds: list[Kind | None]) -> Kind | None:
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds):
        return None
    words = list(dict.fromkeys(kind.words for kind in known))
    every = frozenset().union(*(kind.types for kind in known))
    return Kind(" or ".join(words), lambda value: any(kind.fits(value) for kind in known), every)


def _function(annotation: object) -> Kind:
    """A function; a model must not be a class, whose call makes an instance."""
    model = annotation == Callable[[Tensor], Tensor]
    words = "a torch module or function from inputs to logits" if model else "a function"
    kinds = frozenset({nn.Module}) if model else frozenset()
    return Kind(words, lambda value: callable(value) and not (model and isinstance(value, type)), kinds)


def _tuple(parts: tuple[object, ...]) -> Kind:
    if not parts or parts[-1] is Ellipsis:
        return _sequence(parts[:1])
    kinds = [kind_of(part) for part in parts]
    words = ", ".join("anything" if kind is None else kind.words for kind in kinds)

    def fits(value: object) -> bool:
        return (
            isinstance(value, tuple | list)
            and len(value) == len(kinds)
            and all(kind is None or kind.fits(_number(one)) for kind, one in zip(kinds, value, strict=True))
        )

    return Kind(f"({words})", fits)


def _sequence(parts: tuple[object, ...]) -> Kind:
    inner = kind_of(parts[0]) if parts else None

    def fits(value: object) -> bool:
        if isinstance(value, str) and inner is not None:
            return str in inner.types
        if not isinstance(value, abc.Iterable) or isinstance(value, str | bytes | abc.Mapping) or _is_array(value):
            return False
        some = list(value)[:_MOST] if isinstance(value, abc.Sequence | abc.Set) else []
        return inner is None or all(inner.fits(_number(one)) for one in some)

    return Kind(f"a sequence, each {inner.words}" if inner else "a sequence", fits)


def _is_array(value: object) -> bool:
    return hasattr(value, "shape")


def _class(annotation: type) -> Kind | None:
    if annotation is object or annotation is typing.Any or typing.is_typeddict(annotation):
        return None
    article = "an" if annotation.__name__[0] in "AEIOU" else "a"
    known = {Tensor: "a tensor", nn.Module: "a torch module", torch.dtype: "a torch.dtype"}
    words = known.get(annotation, f"{article} {annotation.__name__}")
    if getattr(annotation, "_is_protocol", False):
        wanted = _members(annotation)
        return Kind(words, lambda v: not isinstance(v, type) and all(hasattr(v, name) for name in wanted))
    return Kind(words, lambda value: isinstance(value, annotation), frozenset({annotation}))


def _members(protocol: type) -> set[str]:
    """The names that a protocol requires."""
    homes = [home for home in protocol.__mro__ if getattr(home, "_is_protocol", False) and home is not typing.Protocol]
    names = {name for home in homes for name in (*vars(home), *vars(home).get("__annotations__", {}))}
    special = {"__call__", "__len__", "__getitem__"}
    return {name for name in names if name in special or not name.startswith("_")}
