"""robustlab demo: training, attacks and a report on Fashion-MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from robustlab.cli import options as o
from robustlab.cli import show
from robustlab.cli.commands import register_command
from robustlab.cli.run import HOME, resumable

if TYPE_CHECKING:
    from robustlab.studies.demo import Budget

EXAMPLE = "robustlab demo --out runs/demo"


def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Directory; if it holds this demo unfinished, the demo is resumed.")
    ] = HOME / "demo",
    budget: Annotated[
        str,
        typer.Option(
            "--budget", help="full (two minutes on two cores of an Intel Xeon), or quick for a first impression."
        ),
    ] = "full",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Test images, a simple random sample.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of weights, training, sample and attacks.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    json: o.Json = False,
) -> None:
    """Trains a network on Fashion-MNIST with and without adversarial examples, attacks it, and writes a report.

    Three networks (standard, FGSM-trained, PGD-trained), three attacks (FGSM, PGD-40, targeted PGD-40), a range of eps.
    Ctrl-C keeps what is finished; the same command resumes.
    """
    from robustlab.evaluation import WORST
    from robustlab.studies import demo as story

    with resumable(out), show.bars() as report:
        result = story(out, seed=seed, n=limit, budget=cast("Budget", budget), device=device, progress=report)
    if json:
        show.machine([e.to_json() for e in result.evaluations])
    else:
        show.evaluations(result.evaluations)
        show.comparisons([c for c in result.comparisons if c.eps == result.eps and c.attack == WORST])
        show.findings(result.evaluations)
    show.say(f"Report: {result.report}", "good")


register_command("demo", demo, example=EXAMPLE)
