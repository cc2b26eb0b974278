"""Dataclasses as options of commands, and how many arguments functions of the command have."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

import robustlab
from robustlab.cli.fields import Late, Typed, flagged, from_fields, option

MOST = 10
"""Arguments of a function of the command."""
CLI = Path(robustlab.__file__).parent / "cli"


@dataclass(frozen=True)
class Side:
    """Options in a group."""

    name: Annotated[str, typer.Argument(help="A name.")]
    side: Annotated[int, typer.Option("--side", min=1, help="Pixels.")] = 3
    words: Annotated[list[str], typer.Option("--word")] = field(default_factory=lambda: ["a"])


def typed(command: object, *words: str) -> tuple[int, str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)  # type: ignore[type-var]
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def test_each_field_of_a_dataclass_is_an_option_and_comes_back_as_one_value() -> None:
    seen: list[object] = []

    @from_fields
    def command(group: Side, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
        """Takes a side."""
        seen.append((group, loud))

    assert list(inspect.signature(command).parameters) == ["name", "side", "words", "loud"]
    assert typed(command, "x") == (0, "")
    assert typed(command, "x", "--side", "5", "--loud", "--word", "b", "--word", "c") == (0, "")
    assert seen == [(Side("x"), False), (Side("x", 5, ["b", "c"]), True)]
    code, message = typed(command, "x", "--side", "0")
    assert (code, "--side" in message) == (2, True)
    assert "Takes a side." in typed(command, "--help")[1]


def test_late_options_are_found_only_when_they_are_asked_for() -> None:
    calls: list[int] = []
    seen: list[Typed] = []

    def more() -> list[inspect.Parameter]:
        calls.append(1)
        return [option("depth", Annotated[int | None, typer.Option("--depth")], None)]

    def command(late: Typed) -> None:
        seen.append(late)

    late = Late(command, more)
    assert list(inspect.signature(late.built(complete=False)).parameters) == []
    assert calls == []
    assert typed(late.built(complete=True), "--depth", "3") == (0, "")
    assert typed(late.built(complete=True)) == (0, "")
    assert seen == [Typed({"depth": 3}), Typed({})]


def test_what_was_typed_comes_before_what_fills_the_gaps() -> None:
    given = Typed({"steps": 3, "eps": "0.1"})
    assert given.filled(steps=7, mix=0.5, eps=None) == Typed({"steps": 3, "eps": "0.1", "mix": 0.5})
    assert given.get("mix") is None


def test_two_options_of_one_name_are_refused() -> None:
    def command(one: Side, other: Side) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'name'"):
        from_fields(command)


def test_a_sentence_about_an_argument_becomes_one_about_its_option() -> None:
    with (
        pytest.raises(typer.BadParameter, match="label-smoothing is a share"),
        flagged({"smooth": "--label-smoothing"}),
    ):
        raise ValueError("smooth is a share")
    with pytest.raises(ValueError, match="smoothing is odd"), flagged({"smooth": "--label-smoothing"}):
        raise ValueError("smoothing is odd")


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.name)
def test_no_function_of_the_command_has_many_arguments(path: Path) -> None:
    wide = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            given = node.args
            rest = [one for one in (given.vararg, given.kwarg) if one is not None]
            count = len([*given.posonlyargs, *given.args, *given.kwonlyargs, *rest])
            if count > MOST:
                wide[getattr(node, "name", "lambda")] = count
    assert wide == {}, "give it a dataclass whose fields are options"
