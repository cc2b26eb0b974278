"""robustlab doctor: can the numbers be trusted."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.run import SERIOUS

EXAMPLE = "robustlab doctor my_package.models:classifier --data folder:photos --eps 8/255 --strict"


def doctor(
    model: o.Model,
    architecture: o.Architecture = None,
    classes: o.Classes = None,
    data: o.Data = "fashion-mnist",
    split: o.Split = "test",
    size: o.Size = None,
    attack: Annotated[
        str, typer.Option("--attack", help=f"Whose word is to be trusted: {parse.ATTACKS}.", rich_help_panel=o.WHAT)
    ] = "pgd",
    eps: Annotated[str, typer.Option("--eps", help="Budget, as 0.1 or 8/255.", rich_help_panel=o.WHAT)] = "8/255",
    norm: o.Norm = "linf",
    steps: o.Steps = 40,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Size of the sample.", rich_help_panel=o.WHAT)] = 128,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    strict: o.Strict = False,
    json: o.Json = False,
) -> None:
    """Looks for faults of a model, its data and an attack that would make a robust accuracy wrong."""
    from robustlab.evaluation import Settings, diagnose, inspect_inputs

    threat = parse.threat(norm, parse.budgets([eps])[-1])
    way = parse.attack(attack, threat, steps=steps)
    subject = parse.model(model, architecture, classes, parse.device(device))
    examples = parse.data(data, split, size=size)
    found = inspect_inputs(subject, examples, threat, seed=seed)
    if not any(f.severity == "serious" for f in found):
        found += diagnose(subject, examples, attack=way, n=limit, settings=Settings(seed=seed))
    if json:
        show.machine([asdict(finding) for finding in found])
    else:
        show.diagnosis(found)
    if strict and any(f.severity == "serious" for f in found):
        raise typer.Exit(SERIOUS)
