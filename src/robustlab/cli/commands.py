"""Commands by name: each registers itself at the end of its file, here or in another package.

The registry of the other kinds (``core.registry``) needs torch, and the help of the command is shown without it.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType

import typer

import robustlab.cli
from robustlab.cli.fields import Late

GROUP = "robustlab.commands"
"""Entry points of other packages: a ``CommandSpec``, or a module that registers its commands."""
_FIRST = (
    "demo", "data", "train", "finetune", "noisy-student", "attack", "evaluate", "compare", "report", "runs", "doctor",
    "reproduce", "sweep", "corruptions", "explain", "mine", "hard", "text",
)  # fmt: skip


@dataclass(frozen=True)
class CommandSpec:
    """A command, or a group of commands.

    Args:
        command: a function with the signature that Typer reads, a Typer application, or a ``Late`` command.
        example: a line that can be typed, for the end of the help.
    """

    command: Callable[..., None] | typer.Typer | Late
    example: str


_COMMANDS: dict[str, CommandSpec] = {}


def register_command(name: str, command: Callable[..., None] | typer.Typer | Late, *, example: str) -> None:
    """Adds a command to ``robustlab``.

    Args:
        name: as it is typed.
        command: see ``CommandSpec``.
        example: see ``CommandSpec``.

    Raises: ValueError if the name is taken.
    """
    spec = CommandSpec(command, example)
    if _COMMANDS.setdefault(name, spec) != spec:
        raise ValueError(f"two commands are called {name!r}: give yours another name")


def unregister_command(name: str) -> None:
    """Removes a command, if it is there; for tests."""
    _COMMANDS.pop(name, None)


def commands(word: str = "") -> dict[str, CommandSpec]:
    """Commands by name, in the order of the help.

    Args:
        word: the first word that was typed; if it is a command, those of other packages are not looked up.

    Raises: ValueError for a name that comes first and that no file registers.
    """
    for found in pkgutil.iter_modules(robustlab.cli.__path__):
        if found.name != "main":
            importlib.import_module(f"robustlab.cli.{found.name}")
    missing = [name for name in _FIRST if name not in _COMMANDS]
    if missing:
        raise ValueError(f"no file registers the command {missing[0]!r}: one of the two names is misspelt")
    if word not in _COMMANDS:
        _add_others()
    return {name: _COMMANDS[name] for name in (*_FIRST, *(name for name in _COMMANDS if name not in _FIRST))}


def _add_others() -> None:
    """Adds the commands of other packages; one that cannot be imported is warned of, and left out."""
    for entry in entry_points(group=GROUP):
        try:
            found = entry.load()
            if not isinstance(found, ModuleType):
                register_command(entry.name, found.command, example=found.example)
        except Exception as error:  # whatever the code of others raises
            message = f"the command {entry.name!r} ({entry.value}) is left out: {type(error).__name__}: {error}"
            warnings.warn(message, stacklevel=2)
