"""Dataclasses as options of a command: a field is an option, its default the option's default.

    @from_fields
    def command(model: Model, images: Images) -> None: ...

has the options of all fields of ``Images``, and gets them as one value. A field is
``Annotated[type, typer.Option(...)]``, and the only place of the option, its default and its help.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any, cast, get_type_hints

import typer

Command = Callable[..., None]


def from_fields(command: Command) -> Command:
    """Decorator of a command: each argument that is a dataclass becomes the options of its fields.

    Raises: ValueError if two options have one name.
    """
    return _signed(command, ())


@dataclass(frozen=True)
class Typed:
    """Values, by name, of options that are found only when their command is typed; those not typed are left out."""

    values: Mapping[str, object]

    def get(self, name: str) -> Any:  # noqa: ANN401 -- Typer has checked the type
        """The value of an option, or None if it was not typed."""
        return self.values.get(name)

    def filled(self, **values: object) -> Typed:
        """The same with values for options that were not typed; None stays not typed."""
        return Typed({name: value for name, value in {**values, **self.values}.items() if value is not None})


@dataclass(frozen=True)
class Late:
    """A command with options that take a moment to find, so that they are found only when it is typed.

    Args:
        command: takes the values of these options as an argument of type ``Typed``, in the place where they are listed.
        more: finds them.
    """

    command: Command
    more: Callable[[], Sequence[Parameter]]

    def built(self, *, complete: bool) -> Command:
        """The command as Typer takes it; not complete, it can only be listed."""
        return _signed(self.command, self.more() if complete else ())


@contextmanager
def flagged(flags: Mapping[str, str]) -> Iterator[None]:
    """Turns an error of the library about an argument, whose name comes first, into one about its option.

    Args:
        flags: options by the names of arguments.
    """
    try:
        yield
    except ValueError as error:
        message = str(error)
        name = next((name for name in flags if message.startswith(f"{name} ")), None)
        if name is None:
            raise
        raise typer.BadParameter(flags[name] + message.removeprefix(name)) from error


def option(name: str, kind: object, default: object) -> Parameter:
    """An option as a parameter of a command; ``kind`` is annotated with ``typer.Option``."""
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _signed(command: Command, more: Sequence[Parameter]) -> Command:
    hints, own = get_type_hints(command, include_extras=True), signature(command).parameters.values()
    options = {one.name: more if hints[one.name] is Typed else list(_options(one, hints[one.name])) for one in own}
    parameters = [made for several in options.values() for made in several]

    @functools.wraps(command)
    def call(**typed: object) -> None:
        command(**{name: _value(hints[name], name, {o.name: typed[o.name] for o in options[name]}) for name in options})

    made = cast(Any, call)
    made.__signature__ = Signature(parameters)
    made.__annotations__ = {one.name: one.annotation for one in parameters}
    return call


def _value(kind: Any, name: str, typed: dict[str, object]) -> object:  # noqa: ANN401 -- a type or an annotation
    """One argument of a command, from the values of its options."""
    if kind is Typed:
        return Typed({}).filled(**typed)
    return cast(Any, kind)(**typed) if is_dataclass(kind) else typed[name]


def _options(parameter: Parameter, kind: object) -> Iterator[Parameter]:
    """The options of one argument: those of its fields, or itself."""
    if not is_dataclass(kind):
        yield option(parameter.name, kind, parameter.default)
        return
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        yield option(field.name, hints[field.name], _default(field))


def _default(field: Field[Any]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return Parameter.empty if field.default is MISSING else field.default
