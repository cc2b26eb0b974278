"""robustlab text evaluate: accuracy of a classifier of texts, clean and under attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from robustlab.cli import exports as x
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli import text_options as t
from robustlab.cli.codes import Code
from robustlab.cli.fields import from_fields
from robustlab.cli.run import directory, inspected, resumable, serious
from robustlab.cli.show_texts import text_table

if TYPE_CHECKING:
    from robustlab.evaluation import TextEvaluation

EXAMPLE = "robustlab text evaluate my_package.models:classify --data csv:reviews.csv --recipe deepwordbug --limit 500"


@dataclass(frozen=True)
class Sample:
    """Number of texts, batch size, and the name of the model in reports."""

    limit: o.Limit = None
    batch_size: t.BatchSize = 128
    name: o.Name = None


@dataclass(frozen=True)
class Gate:
    """Conditions that end the command with an exit code of their own."""

    fail_under: t.FailUnder = None
    force: o.Force = False
    strict: o.Strict = False


@dataclass(frozen=True)
class Files:
    """Files for other tools."""

    junit: x.Junit = None
    sarif: x.Sarif = None
    card: x.Card = None


@from_fields
def evaluate(
    model: t.Model, texts: t.Texts, attacking: t.Attacking, sample: Sample, files: Files, gate: Gate, run: o.Run
) -> None:
    """Measures accuracy under attack, with both success rates, intervals and the doctor's findings.

    Writes report.html, report.json, report.md, report.csv and outcomes.csv into the run's directory (default: a new one
    under runs/). Ctrl-C keeps what is finished; the same command with --out DIRECTORY resumes. Once what it needs is
    there, the same command also measures whether the successes keep the meaning.
    """
    from robustlab.evaluation import TextSettings, evaluate_text
    from robustlab.report import write_texts

    names, data = t.recipes(attacking.recipe), t.texts(texts)
    fields = 1 if not len(data) or isinstance(data.texts[0], str) else len(data.texts[0])
    victim = t.victim(model, run.device, fields=fields)
    n = parse.at_most(sample.limit, len(data))
    place = directory(run.out, model.replace(":", "-"), "text", data.name)
    with resumable(place), show.bars(f"evaluate {model}") as progress:
        settings = TextSettings(
            batch_size=sample.batch_size,
            seed=run.seed,
            queries=attacking.queries,
            field=attacking.field,
            target=attacking.target,
            name=sample.name or victim.name,
            progress=progress,
            inspected=inspected(model, force=gate.force),
        )
        result = evaluate_text(victim, data, recipes=names, n=n, out=place, settings=settings)
        page = write_texts([result], place)
    exports = x.Exports(junit=files.junit, sarif=files.sarif, card=files.card)
    exports.write([result], fail_under=gate.fail_under, strict=gate.strict)
    show.say(f"Report: {page}", "good")
    _print(result, json=run.json)
    _end(result, gate)


def _print(result: TextEvaluation, *, json: bool) -> None:
    """Prints the result on standard output."""
    if json:
        show.marked(result)
    else:
        text_table(result)
        show.findings([result])


def _end(result: TextEvaluation, gate: Gate) -> None:
    """Ends with the exit code that a build gate reads."""
    serious(result.findings, strict=gate.strict)
    if gate.fail_under is not None and not result.worst.low >= gate.fail_under:
        measured = f"accuracy under all recipes {show.fraction(result.worst)}"
        show.say(f"{measured}: the lower bound is below {gate.fail_under:g}", "error")
        raise typer.Exit(Code.BELOW)
