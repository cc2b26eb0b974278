"""robustlab evaluate: clean and robust accuracy of a model."""

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
from robustlab.cli.commands import register_command
from robustlab.cli.fields import from_fields
from robustlab.cli.run import directory, inspected, resumable, tracked, verdict

if TYPE_CHECKING:
    from robustlab.core.processes import Processes
    from robustlab.evaluation import Evaluation

EXAMPLE = "robustlab evaluate my_package.models:classifier --data folder:photos --eps 8/255 --limit 1000"
QUICK = 500
"""Examples that --quick evaluates: half the width of an interval at 95 % is then 4.5 points at most."""


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
        """Names of the attacks."""
        if self.quick and self.attack:
            raise typer.BadParameter("--quick chooses the attacks itself: leave out --attack or --quick")
        return self.attack or ["autoattack-quick" if self.quick else "autoattack"]


@dataclass(frozen=True)
class Sample:
    """Number of examples, batch size and precision, and the name of the model in reports."""

    limit: o.Limit = None
    batch_size: o.BatchSize = o.BATCH_SIZE
    bf16: Annotated[
        bool,
        typer.Option(
            "--bf16",
            help="Search in bfloat16 where that is faster; success is decided in the model's own precision.",
            rich_help_panel=o.EXECUTION,
        ),
    ] = False
    name: o.Name = None


@dataclass(frozen=True)
class Gate:
    """Conditions that end the command with an exit code of its own."""

    fail_under: o.FailUnder = None
    force: o.Force = False
    strict: o.Strict = False


@from_fields
def evaluate(
    measured: o.Measured,
    images: i.Images,
    attacking: Attacking,
    sample: Sample,
    exports: x.Exports,
    gate: Gate,
    run: o.Run,
) -> None:
    """Measures clean and robust accuracy of a model, with intervals and the doctor's findings.

    The default attack is AutoAttack standard, each stage on the examples that are still robust; see --attack, --quick.
    Writes report.html, report.json, report.md and report.csv into the run's directory (default: a new one under
    runs/). Ctrl-C keeps what is finished; the same command with --out DIRECTORY resumes. Several processes share the
    work if torchrun starts them: torchrun --nproc-per-node 2 -m robustlab evaluate ... --out DIRECTORY.
    """
    from robustlab.evaluation import Settings
    from robustlab.evaluation import evaluate as measure

    processes, model = _processes(run.out), measured.model
    found = parse.budgets(attacking.eps or parse.usual_eps(attacking.norm))
    threat = parse.threat(attacking.norm, found[-1])
    attacks = parse.attacks(attacking.names, threat, steps=attacking.steps, restarts=attacking.restarts)
    device = parse.device(run.device)
    subject = parse.model(model, measured.architecture, measured.classes, device, size=images.size)
    examples = parse.data(measured.data, measured.split, size=images, named_model=(model, subject))
    parse.fitting(subject, examples)
    n = parse.at_most(sample.limit or (QUICK if attacking.quick else None), len(examples))
    place = directory(run.out, model, measured.data)
    with resumable(place), show.evaluating(model) as progress:
        settings = Settings(
            batch_size=sample.batch_size,
            seed=run.seed,
            search_dtype="auto" if sample.bf16 else None,
            name=sample.name or model,
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
    _print(result, page, json=run.json)
    verdict(result, gate.fail_under, strict=gate.strict)


def _written(result: Evaluation, place: Path) -> Path:
    """Writes the report, and the numbers to TensorBoard and MLflow; returns the page."""
    from robustlab.report import write

    page = write([result], place)
    tracked(result, place)
    return page


def _processes(out: Path | None) -> Processes:
    """The processes that were started together; each of them on a machine gets a GPU of its own, if there is one."""
    import torch

    from robustlab.core.processes import launched

    processes = launched()
    if processes.count == 1:
        return processes
    if out is None:
        raise typer.BadParameter("several processes need one directory: name it with --out")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return processes


def _print(result: Evaluation, page: Path, *, json: bool) -> None:
    """Prints the result, and the path of its report."""
    if json:
        show.marked(result)
    else:
        show.evaluations([result])
        show.stages(result)
        show.findings([result])
    show.say(f"Report: {page}", "good")


register_command("evaluate", evaluate, example=EXAMPLE)
