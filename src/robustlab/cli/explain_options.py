"""Options of ``robustlab explain`` and their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli.defaults import default_of

PANEL = "Explanations"
_PLAN = "evaluation/explanations/plan.py", "ExplanationSettings"
BATCH_SIZE: int = default_of(*_PLAN, "batch_size")
LIMIT = 64
QUICK = 16
"""Images of a first result."""

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
        help=f"A first result: {QUICK} images (or --limit), the two cheapest methods, few numbers.",
        rich_help_panel=o.INPUT,
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--methods",
        help="Names, several separated by commas or repeated: {methods}.",
        rich_help_panel=PANEL,
    ),
]
Numbers = Annotated[
    list[str] | None,
    typer.Option(
        "--numbers",
        help="Names, several separated by commas or repeated, or none: {numbers}.",
        rich_help_panel=PANEL,
    ),
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
