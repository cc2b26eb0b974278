"""Names of attacks in the help, read from their files, since the help is shown without torch; and a list of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from robustlab.cli import show

NAMES = "{attacks}"
"""In the help of an option: the names of all attacks."""


def _registered(folder: str, registry: str) -> str:
    """Names that files of the room ``explain`` register, in a sentence."""
    paths = sorted((Path(__file__).parents[1] / "explain" / folder).glob("*.py"))
    return ", ".join(name for path in paths for name in _names_in(path.read_text(encoding="utf-8"), registry))


def _names_in(text: str, registry: str) -> Iterator[str]:
    """First arguments of ``register``: texts, or constants of the file."""
    if f"{registry}.register(" not in text:
        return
    tree = ast.parse(text)
    constants: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            constants |= {ast.unparse(target): node.value.value for target in node.targets}
    for call in _register_calls(tree, registry):
        name = call.args[0]
        if isinstance(name, ast.Name) and name.id in constants:
            yield str(constants[name.id])
        elif isinstance(name, ast.Constant):
            yield str(name.value)


def _register_calls(tree: ast.Module, registry: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{registry}.register":
            yield node


EXPLAINING = {
    "{methods}": partial(_registered, "", "METHODS"),
    "{numbers}": partial(_registered, "numbers", "NUMBERS"),
    "{checks}": partial(_registered, "checks", "CHECKS"),
}
"""In the help of an option: names of methods, numbers and checks of maps."""


class Registered(NamedTuple):
    """Name of an attack, and whether it can be targeted."""

    name: str
    targeted: bool = False


def fill_in(command: object) -> None:
    """Writes the names of all attacks into the help of a Typer command and of the commands inside it."""
    for one in getattr(command, "commands", {}).values():
        fill_in(one)
    for option in getattr(command, "params", []):
        text = getattr(option, "help", None)
        if text and NAMES in text:
            option.help = text.replace(NAMES, names())
        for place, listed in EXPLAINING.items():
            if text and place in text:
                option.help = text.replace(place, listed())


def names() -> str:
    """All attacks by name, in a sentence."""
    ours = list(registered())
    others = sorted({point.name for point in entry_points(group="robustlab.attacks")})
    parts = [", ".join(one.name for one in ours)]
    parts += [f"of other packages {', '.join(others)}"] if others else []
    parts += [f"targeted- in front of {', '.join(one.name for one in ours if one.targeted)}: to a random wrong class"]
    return "; ".join(parts) + ". With options as in square:queries=1000, see robustlab attack --list"


def registered() -> Iterator[Registered]:
    """Attacks that come with the package, as their files register them."""
    for path in sorted((Path(__file__).parents[1] / "attacks").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "ATTACKS.register(" in text:
            yield from _calls(ast.parse(text))


def _calls(tree: ast.Module) -> Iterator[Registered]:
    for call in _register_calls(tree, "ATTACKS"):
        name, spec = call.args
        if isinstance(name, ast.Constant):
            targeted = [ast.unparse(one.value) for one in getattr(spec, "keywords", []) if one.arg == "targeted"]
            yield Registered(str(name.value), targeted == ["True"])


def _listed(wanted: bool) -> None:
    """Prints all attacks, what each does and its options."""
    if not wanted:
        return
    from robustlab.attacks.registry import ATTACKS, attack_spec

    specs = [(name, attack_spec(name)) for name in ATTACKS]
    rows = [(name, spec.help, _options(spec.options), ", ".join(spec.norms) or "any") for name, spec in specs]
    show.table(("attack", "what it does", "options", "norms"), rows)
    raise typer.Exit


def _options(options: Mapping[str, object]) -> str:
    return ", ".join(name if default is None else f"{name}={default}" for name, default in options.items())


List = Annotated[
    bool, typer.Option("--list", help="List all attacks and their options, and stop.", is_eager=True, callback=_listed)
]
