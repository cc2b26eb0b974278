"""Defaults of the library as options show them, read from its source, since the help is shown without torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]


def default_of(file: str, owner: str, name: str) -> Any:  # noqa: ANN401 -- whatever the default is
    """The default of a field or argument.

    Args:
        file: in the package, such as "evaluation/plan.py".
        owner: class or function in it; "": the file, of which ``name`` is then a constant.
        name: of the field, argument or constant; its value is a literal.

    Raises: KeyError if there is none.
    """
    return literals(file)[owner][name]


@cache
def literals(file: str) -> Mapping[str, Mapping[str, Any]]:
    """All defaults and constants in a file that are literals, by their owner."""
    tree = ast.parse((_PACKAGE / file).read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = {"": dict(_literals(_assigned(tree.body)))}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = dict(_literals(_assigned(node.body)))
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = dict(_literals(_arguments(node.args)))
    return found


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _arguments(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    placed = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    yield from ((one.arg, value) for one, value in zip(placed, arguments.defaults, strict=True))
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    yield from ((one.arg, value) for one, value in named if value is not None)


def _literals(values: Iterator[tuple[str, ast.expr]]) -> Iterator[tuple[str, Any]]:
    for name, value in values:
        try:
            yield name, ast.literal_eval(value)
        except ValueError:  # a call or a name
            continue
