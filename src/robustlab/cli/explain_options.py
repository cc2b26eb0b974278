"""Options of ``robustlab explain`` and their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli.defaults import default_of

if TYPE_CHECKING:
    from robustlab.explain import Method

PANEL = "Explanations"
_PLAN = "evaluation/explanations/plan.py", "ExplanationSettings"
BATCH_SIZE: int = default_of(*_PLAN, "batch_size")
METHODS: tuple[str, ...] = default_of(_PLAN[0], "", "METHOD_NAMES")
NUMBERS: tuple[str, ...] = default_of(_PLAN[0], "", "NUMBER_NAMES")
CHECKED: int = default_of(*_PLAN, "checked")
ATTACKED: int = default_of(*_PLAN, "attacked")
LIMIT = 64
QUICK = 16
"""Images of a first result."""
QUICK_METHODS = ("gradient", "integrated-gradients")

Compare = Annotated[
    str | None,
    typer.Option(
        "--compare",
        help="Another model, named like the first or NAME=CHECKPOINT, explained on the same images.",
        rich_help_panel=o.INPUT,
    ),
]
Limit = Annotated[
    int,
    typer.Option("--limit", min=1, help="Number of images, a simple random sample.", rich_help_panel=o.INPUT),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help=f"A first result: {QUICK} images (or --limit), gradient and integrated gradients, and no attack.",
        rich_help_panel=o.INPUT,
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--methods",
        help=f"Names, several separated by commas or repeated: {{methods}}. Default: {', '.join(METHODS)}.",
        rich_help_panel=PANEL,
    ),
]
Numbers = Annotated[
    list[str] | None,
    typer.Option(
        "--numbers",
        help=f"Names, several separated by commas or repeated, or none: {{numbers}}. Default: {', '.join(NUMBERS)}.",
        rich_help_panel=PANEL,
    ),
]
Checks = Annotated[
    list[str] | None,
    typer.Option(
        "--checks",
        help="Names, several separated by commas or repeated, or none: {checks}. Default: all.",
        rich_help_panel=PANEL,
    ),
]
Checked = Annotated[
    int,
    typer.Option(
        "--checked",
        min=1,
        help="Number of images whose maps are checked; the checks make many maps of each.",
        rich_help_panel=PANEL,
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        help="Layer of the methods that explain one, such as grad-cam; default: theirs.",
        rich_help_panel=PANEL,
    ),
]
Attacked = Annotated[
    int,
    typer.Option(
        "--attacked",
        min=0,
        help="Number of images whose gradient maps are attacked with the prediction unchanged; 0: none.",
        rich_help_panel=PANEL,
    ),
]
Eps = Annotated[
    str, typer.Option("--eps", help="Budget (linf) of the attack on maps, as 0.1 or 8/255.", rich_help_panel=PANEL)
]
Png = Annotated[
    bool,
    typer.Option("--png", help="Also write every map of every image as PNG, into png/.", rich_help_panel=o.OUTPUT),
]
Target = Annotated[
    str,
    typer.Option("--target", help="Explained class: label, or the prediction of each model.", rich_help_panel=PANEL),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images at a time.", rich_help_panel=o.EXECUTION)]


@dataclass(frozen=True)
class Explaining:
    """Methods, as typed."""

    methods: Methods = None
    numbers: Numbers = None
    checks: Checks = None
    checked: Checked = CHECKED
    layer: Layer = None
    attacked: Attacked = ATTACKED
    eps: Eps = "8/255"
    target: Target = "label"


def words(typed: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names as typed: several with commas or by repeating the option.

    >>> words(["gradient,smoothgrad", "gradient"])
    ('gradient', 'smoothgrad')
    """
    if typed is None:
        return None
    found = tuple(dict.fromkeys(name.strip() for one in typed for name in one.split(",") if name.strip()))
    if not found:
        raise typer.BadParameter("no name was given: write names separated by commas")
    return found


def target(typed: str) -> str:
    """Explained class, as typed."""
    if typed not in ("label", "prediction"):
        raise typer.BadParameter(f"--target is label or prediction, got {typed!r}")
    return typed


def unless_none(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names as typed, or none of them for the word "none"."""
    return () if names == ("none",) else names


def built(names: Sequence[str], layer: str | None) -> dict[str, Method]:
    """Methods by name; those that explain a layer get the one that was typed."""
    from robustlab.explain import METHODS, make_method

    layered = [name for name in names if "layer" in signature(METHODS.get(name).build).parameters]
    if layer is not None and not layered:
        raise typer.BadParameter("--layer goes with a method that explains a layer, such as --methods grad-cam")
    return {name: make_method(name, **({"layer": layer} if layer and name in layered else {})) for name in names}
