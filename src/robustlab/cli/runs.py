"""robustlab runs: a list of evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show
from robustlab.cli.commands import register_command
from robustlab.cli.run import HOME

if TYPE_CHECKING:
    from robustlab.evaluation import CorruptionEvaluation, Explanations, TextEvaluation

EXAMPLE = "robustlab runs runs"


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder that is searched, at any depth.")] = HOME, json: o.Json = False
) -> None:
    """Lists the runs in a folder, with model, data, accuracy and findings."""
    if not folder.is_dir():
        raise typer.BadParameter(f"there is no folder {folder}")
    found = [_line(manifest.parent) for manifest in sorted(folder.rglob("manifest.json"))]
    if json:
        show.machine(found)
        return
    head = ("run", "model", "data", "n", "clean", "robust", "at", "mark")
    show.table(head, [[str(line.get(name, "")) for name in head] for line in found])
    for line in found:
        if "problem" in line:
            show.say(str(line["problem"]), "warning")


def _line(place: Path) -> dict[str, object]:
    from robustlab.core import RobustlabError
    from robustlab.evaluation import (
        is_corruption_run,
        is_explanation_run,
        is_text_run,
        read_corruptions,
        read_explanations,
        read_run,
        read_texts,
    )
    from robustlab.report.words import budget, mark, percent

    try:
        if is_corruption_run(place):
            return _under_corruptions(place, read_corruptions(place))
        if is_text_run(place):
            return _on_texts(place, read_texts(place))
        if is_explanation_run(place):
            return _of_explanations(place, read_explanations(place))
        e = read_run(place)
    except RobustlabError as error:
        return {"run": str(place), "problem": str(error)}
    worst = e.worst[-1]
    return {
        "run": str(place),
        "model": e.model.name,
        "data": e.data.name,
        "n": e.data.n,
        "clean": percent(e.clean.accuracy.value),
        "robust": show.fraction(worst.robust),
        "mark": mark(e.findings),
        "at": f"{e.threat.norm} {budget(worst.eps)}",
    }


def _on_texts(place: Path, e: TextEvaluation) -> dict[str, object]:
    from robustlab.report.words import mark, percent

    return {
        "run": str(place),
        "model": e.model.name,
        "data": e.data.name,
        "n": e.data.n,
        "clean": percent(e.clean.accuracy.value),
        "robust": show.fraction(e.worst),
        "mark": mark(e.findings),
        "at": ", ".join(info.name for info in e.recipes),
    }


def _under_corruptions(place: Path, e: CorruptionEvaluation) -> dict[str, object]:
    from robustlab.report.words import mark, percent

    return {
        "run": str(place),
        "model": e.model.name,
        "data": e.data.name,
        "n": e.data.n,
        "clean": "" if e.clean is None else percent(e.clean.accuracy.value),
        "robust": show.fraction(e.mean_accuracy),
        "mark": mark(e.findings),
        "at": f"{len(e.corruptions)} corruptions",
    }


def _of_explanations(place: Path, e: Explanations) -> dict[str, object]:
    from robustlab.report.words import mark, percent

    return {
        "run": str(place),
        "model": ", ".join(model.name for model in e.models),
        "data": e.data.name,
        "n": e.data.n,
        "clean": ", ".join(percent(accuracy.value) for accuracy in e.accuracy),
        "robust": "",
        "mark": mark(e.findings),
        "at": f"{len(e.methods)} method{'s' if len(e.methods) != 1 else ''} of explanation",
    }


register_command("runs", runs, example=EXAMPLE)
