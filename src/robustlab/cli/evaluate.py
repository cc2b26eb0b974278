"""robustlab evaluate: how robust is a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import exports as x
from robustlab.cli import images as i
from robustlab.cli import natural_options as c
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.natural import Asked, Plain, natural_result, told
from robustlab.cli.run import directory, inspected, resumable, tracked, verdict

if TYPE_CHECKING:
    from robustlab.core.processes import Processes
    from robustlab.evaluation import Evaluation

EXAMPLE = "robustlab evaluate my_package.models:classifier --data folder:photos --eps 8/255 --limit 1000"
QUICK = 500
"""Examples of a quick look: half the width of an interval at 95 % is then 4.5 points at most."""


def evaluate(
    model: o.Model,
    architecture: o.Architecture = None,
    classes: o.Classes = None,
    data: o.Data = "fashion-mnist",
    split: o.Split = "test",
    size: o.Size = None,
    resize: i.Resize = None,
    interpolation: i.Interpolation = None,
    classes_from: i.ClassesFrom = None,
    attack: o.Attacks = None,
    eps: o.Eps = None,
    norm: o.Norm = "linf",
    quick: o.Quick = False,
    steps: o.OwnSteps = None,
    restarts: o.Restarts = 1,
    natural: c.Natural = False,
    corruptions: c.Corruptions = None,
    severities: c.Severities = None,
    variant: c.Variant = "imagenet-c",
    clean: c.Clean = None,
    baseline: c.Baseline = None,
    attacked: c.Attacked = None,
    subset: c.Subsets = None,
    limit: o.Limit = None,
    batch_size: c.BatchSize = None,
    bf16: Annotated[
        bool,
        typer.Option(
            "--bf16",
            help="Search in bfloat16 where that is faster; success is decided in the model's own precision.",
            rich_help_panel=o.HOW,
        ),
    ] = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    name: o.Name = None,
    out: o.Out = None,
    png: o.Png = False,
    junit: x.Junit = None,
    sarif: x.Sarif = None,
    model_card: x.Card = None,
    fail_under: o.FailUnder = None,
    force: o.Force = False,
    strict: o.Strict = False,
    json: o.Json = False,
) -> None:
    """Measures clean and robust accuracy of a model, with intervals and the doctor's findings.

    The attack is AutoAttack standard, stage by stage on what still stands, unless --attack or --quick says otherwise.
    Writes report.html, report.json, report.md and report.csv into the run's directory (default: a new one under
    runs/). Ctrl-C keeps what was done; the same command with --out DIRECTORY goes on. Several processes share the work
    if torchrun starts them: torchrun --nproc-per-node 2 -m robustlab evaluate ... --out DIRECTORY.

    With --natural nobody attacks: the model is asked about the images under corruptions, made in memory. That writes
    natural.json and the report on corruptions.
    """
    exports = x.Exports(junit, sarif, model_card, png=png)
    asked = Asked(corruptions, severities, variant, clean, baseline, attacked, subset)
    images = i.Images(size, resize, interpolation, classes_from)
    if natural:
        _no_attack(attack, eps, exports, quick=quick or bf16)
        plain = Plain(model, architecture, classes, data, split, images, limit, batch_size, seed, device, out, force)
        told(natural_result(plain, asked), fail_under, strict=strict, json=json)
        return
    if asked.any:
        raise typer.BadParameter("corruptions and what belongs to them go with --natural")
    from robustlab.evaluation import Settings
    from robustlab.evaluation import evaluate as measure

    processes = _sharing(out)
    found = parse.budgets(eps or parse.usual_eps(norm))
    attacks = parse.attacks(_names(attack, quick=quick), parse.threat(norm, found[-1]), steps=steps, restarts=restarts)
    subject = parse.model(model, architecture, classes, parse.device(device), size=size)
    examples = parse.data(data, split, size=images, asker=(model, subject))
    parse.fitting(subject, examples)
    n = min(QUICK, len(examples)) if quick and limit is None else limit
    place = directory(out, model, data)
    with resumable(place), show.evaluating(model) as progress:
        settings = Settings(
            batch_size=batch_size or 128,
            seed=seed,
            search_dtype="auto" if bf16 else None,
            name=name or model,
            together=processes.count > 1,
            progress=progress,
            inspected=inspected(model, force=force),
        )
        result = measure(subject, examples, attacks=attacks, eps=found, n=n, out=place, settings=settings)
        if not processes.first:
            return
        page = _written(result, place)
        exports.pictures(result, subject, examples)
    exports.write([result], fail_under=fail_under, strict=strict)
    _told(result, page, json=json)
    verdict(result, fail_under, strict=strict)


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


def _names(typed: list[str] | None, *, quick: bool) -> list[str]:
    """The attacks asked for."""
    if quick and typed:
        raise typer.BadParameter("--quick chooses the attacks itself: leave out --attack or --quick")
    return typed or ["autoattack-quick" if quick else "autoattack"]


def _no_attack(attack: list[str] | None, eps: list[str] | None, exports: x.Exports, *, quick: bool) -> None:
    if attack or eps or quick:
        raise typer.BadParameter("--natural goes without attacks: leave out --attack, --eps, --quick and --bf16")
    if exports.any:
        raise typer.BadParameter("--png, --junit, --sarif and --model-card go with attacks: leave out --natural")


def _told(result: Evaluation, page: Path, *, json: bool) -> None:
    """The result on standard output, and where its report is."""
    if json:
        show.marked(result)
    else:
        show.evaluations([result])
        show.stages(result)
        show.findings([result])
    show.say(f"Report: {page}", "good")
