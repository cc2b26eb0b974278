"""robustlab evaluate: how robust is a model."""

from __future__ import annotations

from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.run import directory, resumable, verdict

EXAMPLE = "robustlab evaluate my_package.models:classifier --data folder:photos --attack pgd --eps 8/255 --limit 500"


def evaluate(
    model: o.Model,
    architecture: o.Architecture = None,
    classes: o.Classes = None,
    data: o.Data = "fashion-mnist",
    split: o.Split = "test",
    size: o.Size = None,
    attack: o.Attacks = ["fgsm", "pgd"],  # noqa: B006 -- typer reads it, nobody changes it
    eps: o.Eps = ["8/255"],  # noqa: B006
    norm: o.Norm = "linf",
    steps: o.Steps = 40,
    restarts: o.Restarts = 1,
    limit: o.Limit = None,
    batch_size: o.BatchSize = 128,
    bf16: Annotated[
        bool,
        typer.Option(
            "--bf16", help="Search in bfloat16; success is decided in the model's own precision.", rich_help_panel=o.HOW
        ),
    ] = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    out: o.Out = None,
    fail_under: o.FailUnder = None,
    strict: o.Strict = False,
    json: o.Json = False,
) -> None:
    """Measures clean and robust accuracy of a model, with intervals and the doctor's findings.

    Writes report.html, report.json, report.md and report.csv into the run's directory (default: a new one under
    runs/). Ctrl-C keeps what was done; the same command with --out DIRECTORY goes on.
    """
    import torch

    from robustlab.evaluation import Settings
    from robustlab.evaluation import evaluate as measure
    from robustlab.report import write

    found = parse.budgets(eps)
    attacks = parse.attacks(attack, parse.threat(norm, found[-1]), steps=steps, restarts=restarts)
    subject = parse.model(model, architecture, classes, parse.device(device))
    examples = parse.data(data, split, size=size)
    place = directory(out, model, data)
    with resumable(place), show.evaluating(model) as progress:
        settings = Settings(
            batch_size=batch_size,
            seed=seed,
            search_dtype=torch.bfloat16 if bf16 else None,
            name=model,
            progress=progress,
        )
        result = measure(subject, examples, attacks=attacks, eps=found, n=limit, out=place, settings=settings)
        page = write([result], place)
    if json:
        show.machine(result.to_json())
    else:
        show.evaluations([result])
        show.findings([result])
    show.say(f"Report: {page}", "good")
    verdict(result, fail_under, strict=strict)
