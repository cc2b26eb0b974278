"""robustlab evaluate: how robust is a model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import exports as x
from robustlab.cli import images as i
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.fields import from_fields
from robustlab.cli.run import directory, inspected, resumable, tracked, verdict

if TYPE_CHECKING:
    from robustlab.core.processes import Processes
    from robustlab.evaluation import Evaluation

EXAMPLE = "robustlab evaluate my_package.models:classifier --data folder:photos --eps 8/255 --limit 1000"
QUICK = 500
"""Examples of a quick look: half the width of an interval at 95 % is then 4.5 points at most."""


@dataclass(frozen=True)
class Attacking:
    """Attacks and their budgets, as typed."""

    attack: o.Attacks = None
    eps: o.Eps = None
    norm: o.Norm = "linf"
    quick: o.Quick = False
    steps: o.OwnSteps = None
    restarts: o.Restarts = 1

    @property
    def names(self) -> list[str]:
        """The attacks asked for."""
        if self.quick and self.attack:
            raise typer.BadParameter("--quick chooses the attacks itself: leave out --attack or --quick")
        return self.attack or ["autoattack-quick" if self.quick else "autoattack"]


@dataclass(frozen=True)
class How:
    """How many examples, how many at a time and in which precision; and the name in reports."""

    limit: o.Limit = None
    batch_size: o.BatchSize = 128
    bf16: Annotated[
        bool,
        typer.Option(
            "--bf16",
            help="Search in bfloat16 where that is faster; success is decided in the model's own precision.",
            rich_help_panel=o.HOW,
        ),
    ] = False
    name: o.Name = None


@dataclass(frozen=True)
class Gate:
    """What ends the command with an exit code of its own."""

    fail_under: o.FailUnder = None
    force: o.Force = False
    strict: o.Strict = False


@from_fields
def evaluate(
    measured: o.Measured,
    images: i.Images,
    attacking: Attacking,
    how: How,
    exports: x.Exports,
    gate: Gate,
    run: o.Run,
) -> None:
    """Measures clean and robust accuracy of a model, with intervals and the doctor's findings.

    The attack is AutoAttack standard, stage by stage on what still stands, unless --attack or --quick says otherwise.
    Writes report.html, report.json, report.md and report.csv into the run's directory (default: a new one under
    runs/). Ctrl-C keeps what was done; the same command with --out DIRECTORY goes on. Several processes share the work
    if torchrun starts them: torchrun --nproc-per-node 2 -m robustlab evaluate ... --out DIRECTORY.
    """
    from robustlab.evaluation import Settings
    from robustlab.evaluation import evaluate as measure

    processes, model = _sharing(run.out), measured.model
    found = parse.budgets(attacking.eps or parse.usual_eps(attacking.norm))
    threat = parse.threat(attacking.norm, found[-1])
    attacks = parse.attacks(attacking.names, threat, steps=attacking.steps, restarts=attacking.restarts)
    device = parse.device(run.device)
    subject = parse.model(model, measured.architecture, measured.classes, device, size=images.size)
    examples = parse.data(measured.data, measured.split, size=images, asker=(model, subject))
    parse.fitting(subject, examples)
    n = min(QUICK, len(examples)) if attacking.quick and how.limit is None else how.limit
    place = directory(run.out, model, measured.data)
    with resumable(place), show.evaluating(model) as progress:
        settings = Settings(
            batch_size=how.batch_size,
            seed=run.seed,
            search_dtype="auto" if how.bf16 else None,
            name=how.name or model,
            together=processes.count > 1,
            progress=progress,
            inspected=inspected(model, force=gate.force),
        )
        result = measure(subject, examples, attacks=attacks, eps=found, n=n, out=place, settings=settings)
        if not processes.first:
            return
        page = _written(result, place)
        exports.pictures(result, subject, examples)
    exports.write([result], fail_under=gate.fail_under, strict=gate.strict)
    _told(result, page, json=run.json)
    verdict(result, gate.fail_under, strict=gate.strict)


def _written(result: Evaluation, place: Path) -> Path:
    """The report, and the numbers in TensorBoard and MLflow."""
    from robustlab.report import write

    page = write([result], place)
    tracked(result, place)
    return page


def _sharing(out: Path | None) -> Processes:
    """The processes that were started together; each of a machine gets a GPU of its own, if there are any."""
    import torch

    from robustlab.core.processes import launched

    processes = launched()
    if processes.count == 1:
        return processes
    if out is None:
        raise typer.BadParameter("several processes share a directory: say which with --out")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return processes


def _told(result: Evaluation, page: Path, *, json: bool) -> None:
    """The result on standard output, and where its report is."""
    if json:
        show.marked(result)
    else:
        show.evaluations([result])
        show.stages(result)
        show.findings([result])
    show.say(f"Report: {page}", "good")
