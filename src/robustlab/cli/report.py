"""robustlab report: draw reports again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.run import HOME, compared

EXAMPLE = "robustlab report runs/standard runs/hardened --out runs/both --headline 0.1"


def report(
    runs: o.Runs,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Directory to write to; default: the run's own, or runs/report for several."),
    ] = None,
    headline: Annotated[
        str | None, typer.Option("--headline", help="Eps that the headline speaks of; default: the largest.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Of the page.")] = None,
) -> None:
    """Writes the report of finished runs again, several side by side on the same axes."""
    from robustlab.evaluation import read_run
    from robustlab.report import write

    results = [read_run(run) for run in runs]
    place = out or (runs[0] if len(runs) == 1 else HOME / "report")
    eps = parse.budgets([headline])[-1] if headline else None
    page = write(results, place, comparisons=compared(results), eps=eps, title=title)
    show.say(f"Report: {page}", "good")
