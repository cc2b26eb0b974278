"""robustlab report: reports of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import exports as x
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.commands import register_command
from robustlab.cli.corruptions_evaluate import compared as compared_corruptions
from robustlab.cli.run import HOME, compared
from robustlab.cli.text_compare import compared_texts

if TYPE_CHECKING:
    from robustlab.evaluation import TextEvaluation

EXAMPLE = "robustlab report runs/standard runs/hardened --out runs/both --headline 0.1"


def report(
    runs: o.Runs,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Directory to write to; default: the run's own, or runs/report for several."),
    ] = None,
    headline: Annotated[
        str | None, typer.Option("--headline", help="Eps of the headline; default: the largest.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Title of the page.")] = None,
    junit: x.Junit = None,
    sarif: x.Sarif = None,
    model_card: x.Card = None,
) -> None:
    """Writes the report of finished runs again; several runs are drawn on the same axes.

    Runs of robustlab corruptions evaluate give the report on corruptions; runs of attacks on the same
    models are shown in the same table. Runs of robustlab text evaluate give the report on texts, and a
    run of robustlab explain the one on explanations.
    """
    from robustlab.evaluation import (
        is_corruption_run,
        is_explanation_run,
        is_text_run,
        read_corruptions,
        read_explanations,
        read_run,
        read_texts,
    )
    from robustlab.report import write, write_corruptions, write_explanations

    place = out or (runs[0] if len(runs) == 1 else HOME / "report")
    exports = x.Exports(junit=junit, sarif=sarif, card=model_card)
    if any(map(is_explanation_run, runs)):
        if len(runs) > 1:
            raise typer.BadParameter("a run of explanations has a report of its own: name it alone")
        if junit or sarif or model_card:
            raise typer.BadParameter("--junit, --sarif and --model-card take runs of attacks only: leave them out")
        show.say(f"Report: {write_explanations(read_explanations(runs[0]), place, title=title)}", "good")
        return
    on_texts = [read_texts(run) for run in runs if is_text_run(run)]
    if on_texts:
        if len(on_texts) < len(runs):
            raise typer.BadParameter("runs on texts and on images have no report in common: name those of one kind")
        _on_texts(on_texts, place, title, exports)
        return
    under_corruptions = [read_corruptions(run) for run in runs if is_corruption_run(run)]
    results = [read_run(run) for run in runs if not is_corruption_run(run)]
    if under_corruptions:
        if junit or sarif or model_card:
            raise typer.BadParameter("--junit, --sarif and --model-card take runs of attacks only: leave them out")
        page = write_corruptions(
            under_corruptions, place, comparisons=compared_corruptions(under_corruptions), attacked=results, title=title
        )
        show.say(f"Report: {page}", "good")
        return
    eps = parse.budgets([headline])[-1] if headline else None
    page = write(results, place, comparisons=compared(results), eps=eps, title=title)
    exports.write(results)
    show.say(f"Report: {page}", "good")


def _on_texts(results: Sequence[TextEvaluation], place: Path, title: str | None, exports: x.Exports) -> None:
    """Writes the report of runs on texts."""
    from robustlab.report import write_texts

    page = write_texts(results, place, comparisons=compared_texts(results), title=title)
    exports.write(results)
    show.say(f"Report: {page}", "good")


register_command("report", report, example=EXAMPLE)
