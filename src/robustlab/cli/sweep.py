"""robustlab sweep: comparison of optimizers, in attacks and in training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import images as i
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.commands import register_command
from robustlab.cli.defaults import default_of
from robustlab.cli.fields import from_fields
from robustlab.cli.run import HOME, resumable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robustlab.studies.sweep import Attackers, Spend, Subject, Trainers
    from robustlab.studies.sweep.table import Table

EXAMPLE = "robustlab sweep attackers --quick"
sweep = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Compares optimizers: as step rules of attacks (attackers), and in training (trainers).",
)
_ATTACKERS = "studies/sweep/attackers.py"
SEEDS: int = default_of(_ATTACKERS, "", "SEEDS")
_IMAGES: int = default_of(_ATTACKERS, "Spend", "images")
_DRY = "These numbers are of a dry run and are not results."

Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds, each with images of its own.")]
Quick = Annotated[
    bool, typer.Option("--quick", help="A dry run in a minute or two, kept apart: its numbers are not results.")
]
Home = Annotated[
    Path,
    typer.Option("--out", help="Directory; finished parts in it are not computed again.", rich_help_panel=o.OUTPUT),
]
Listed = Annotated[bool, typer.Option("--list", help="Show the results that come with the package; compute nothing.")]


@dataclass(frozen=True)
class Own:
    """Models of the user, their data and threat."""

    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Models, named as for robustlab evaluate; none: two small networks that are trained for this.",
            show_default=False,
        ),
    ] = None
    architecture: o.Architecture = None
    classes: o.Classes = None
    data: Annotated[
        str | None,
        typer.Option("--data", help="For models of your own; default: fashion-mnist.", rich_help_panel=o.INPUT),
    ] = None
    split: o.Split = "test"
    eps: Annotated[
        str | None,
        typer.Option("--eps", help="For models of your own, as 0.1 or 8/255; default 8/255.", rich_help_panel=o.INPUT),
    ] = None
    norm: Annotated[
        str | None,
        typer.Option("--norm", help="For models of your own: linf or l2; default linf.", rich_help_panel=o.INPUT),
    ] = None


@sweep.command(
    epilog="Example: robustlab sweep attackers my_package.models:classifier --eps 8/255 --data folder:photos"
)
@from_fields
def attackers(
    own: Own,
    images: i.Images,
    *,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help=f"Images reported for each seed; default {_IMAGES}.", rich_help_panel=o.INPUT
        ),
    ] = None,
    seeds: Seeds = SEEDS,
    quick: Quick = False,
    listed: Listed = False,
    out: Home = HOME / "sweep",
    device: o.Device = o.DEVICE,
    json: o.Json = False,
) -> None:
    """Compares step rules of PGD: sign, SGD, momentum, Adam, RMSprop and Adagrad.

    All rules have the same threat, starts and number of passes. The learning rate of each rule is selected on some
    images and reported on others, with exact intervals and paired tests. Every run is saved as JSON as soon as it is
    computed. Ctrl-C loses nothing; the same command resumes.
    """
    from robustlab.studies.sweep import SUBJECTS, known_attackers
    from robustlab.studies.sweep import attackers as swept

    spend = _spend(limit, quick=quick)
    if own.models:
        subjects: Sequence[Subject] = _given(own, images, device)
    elif replace(own, models=None, split=Own.split) != Own() or images != i.Images():
        raise typer.BadParameter("--data, --eps and the like are for models of your own: add the name of one")
    else:
        subjects = SUBJECTS
    if listed:
        known = [known_attackers(one.name) for one in SUBJECTS]
        _print([one for one in known if one], json=json, dry=False)
        return
    with resumable(out), show.bars() as bar:
        found = [swept(one, out=out, seeds=seeds, spend=spend, device=device, progress=bar) for one in subjects]
    _print(found, json=json, dry=quick)


@sweep.command(epilog="Example: robustlab sweep trainers --recipe standard --seeds 3")
def trainers(
    recipe: Annotated[str, typer.Option("--recipe", help="Recipe of the training: standard or fast.")] = "standard",
    seeds: Seeds = SEEDS,
    quick: Quick = False,
    listed: Listed = False,
    out: Home = HOME / "sweep",
    device: o.Device = o.DEVICE,
    json: o.Json = False,
) -> None:
    """Trains the same network with eight optimizers, each at its best learning rate, and attacks it.

    Rates are selected on held-out training images; then each optimizer trains with several seeds, and the table has
    t-intervals over the seeds. Every run is saved as JSON as soon as it is computed. Ctrl-C loses nothing; the same
    command resumes.
    """
    from robustlab.studies import FULL, QUICK
    from robustlab.studies.sweep import known_trainers
    from robustlab.studies.sweep import trainers as trained

    if listed:
        known = known_trainers(recipe)
        _print([known] if known else [], json=json, dry=False)
        return
    parse.device(device)
    with resumable(out), show.bars() as bar:
        budget = QUICK if quick else FULL
        found = trained(recipe, out=out, seeds=seeds, budget=budget, device=device, progress=bar)
    _print([found], json=json, dry=quick)


def _spend(limit: int | None, *, quick: bool) -> Spend:
    """Number of images and passes."""
    from robustlab.studies.sweep import QUICK_SPEND, Spend

    amount = QUICK_SPEND if quick else Spend()
    return amount if limit is None else replace(amount, images=limit)


def _given(own: Own, images: i.Images, device: str) -> list[Subject]:
    """Models as typed, with the data and the threat that they are attacked with."""
    from robustlab.studies.sweep import Given

    place, norm = parse.device(device), own.norm or "linf"
    if norm.lower() not in {"linf", "l2"}:
        raise typer.BadParameter(f"step rules are compared in linf and l2, not {norm!r}")
    (eps,) = parse.budgets([own.eps] if own.eps else parse.usual_eps(norm))[:1]
    if not eps:
        raise typer.BadParameter("with eps 0 there is nothing to compare: write --eps 8/255")
    threat = parse.threat(norm, eps)
    found = (
        (name, parse.model(name, own.architecture, own.classes, place, size=images.size)) for name in own.models or ()
    )
    models = list(found)
    examples = parse.data(own.data or "fashion-mnist", own.split, size=images, named_model=models[0])
    return [Given(name, threat, parse.fitting(model, examples), examples) for name, model in models]


def _print(found: Sequence[Attackers | Trainers], *, json: bool, dry: bool) -> None:
    """Prints the results."""
    if json:
        show.machine([one.to_json() for one in found])
    else:
        for one in found:
            _tables(one)
        if not found:
            show.say("No results come with the package yet.", "warning")
    if dry:
        show.say(_DRY, "warning")


def _tables(found: Attackers | Trainers) -> None:
    from robustlab.studies.sweep import Attackers, table

    tables: Sequence[Table]
    if isinstance(found, Attackers):
        sentences, tables = table.attackers_sentences(found), table.attackers_tables(found)
    else:
        sentences, tables = table.trainers_sentences(found), table.trainers_tables(found)
    for one in tables:
        show.table(one.head, one.rows, title=one.title)
    show.paragraph("Results", sentences)


register_command("sweep", sweep, example=EXAMPLE)
