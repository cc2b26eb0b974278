"""robustlab demo: the whole story on Fashion-MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from robustlab.cli import options as o
from robustlab.cli import show
from robustlab.cli.run import HOME, resumable

if TYPE_CHECKING:
    from robustlab.studies.demo import Budget

EXAMPLE = "robustlab demo --out runs/demo"


def demo(
    out: Annotated[Path, typer.Option("--out", help="Directory; if it holds this demo unfinished, it goes on.")] = HOME
    / "demo",
    budget: Annotated[
        str,
        typer.Option("--budget", help="full (two minutes on two cores of an Intel Xeon), or quick for a first look."),
    ] = "full",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Test images, a simple random sample.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of weights, training, sample and attacks.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    json: o.Json = False,
) -> None:
    """Trains one network on Fashion-MNIST as usual and adversarially, attacks all, and writes a report.

    Three networks (standard, FGSM-trained, PGD-trained), three attacks (FGSM, PGD-40, targeted PGD-40), a range of eps.
    Ctrl-C keeps what was done; the same command goes on.
    """
    from robustlab.evaluation import WORST
    from robustlab.studies import demo as story

    with resumable(out), show.bars() as report:
        made = story(out, seed=seed, n=limit, budget=cast("Budget", budget), device=device, progress=report)
    if json:
        show.machine([e.to_json() for e in made.evaluations])
    else:
        show.evaluations(made.evaluations)
        show.comparisons([c for c in made.comparisons if c.eps == made.eps and c.attack == WORST])
        show.findings(made.evaluations)
    show.say(f"Report: {made.report}", "good")
