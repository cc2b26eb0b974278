"""robustlab mine: the examples of a data set that a whole committee misclassifies."""

from __future__ import annotations

from dataclasses import dataclass
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
    from robustlab.studies.mining import Mined

_MINE = "studies/mining/run.py", "mine"
EXAMPLE = "robustlab mine folder:photos --size 32 --folds 4"


@dataclass(frozen=True)
class Source:
    """The data that are mined."""

    data: Annotated[str, typer.Argument(help="Name of a data set, or a folder with one folder per class.")] = (
        "fashion-mnist"
    )
    split: o.Split = "all"
    limit: o.Limit = None


@dataclass(frozen=True)
class Committee:
    """Networks that vote, networks that are held out, and their training."""

    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="Architecture that votes, repeated; default: shallow-cnn, batchnorm-cnn, residual-cnn.",
            rich_help_panel=o.INPUT,
            show_default=False,
        ),
    ] = None
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            "--held-out",
            help="Architecture that is evaluated but has no vote, repeated; default: inverted-cnn, patch-mixer.",
            rich_help_panel=o.INPUT,
            show_default=False,
        ),
    ] = None
    folds: Annotated[
        int,
        typer.Option(
            "--folds",
            min=2,
            help="Parts of the data; each is judged by networks trained on the others.",
            rich_help_panel=o.EXECUTION,
        ),
    ] = default_of(*_MINE, "folds")
    below: Annotated[
        float,
        typer.Option(
            "--below",
            help="Largest probability that voters give the label of a hard example.",
            rich_help_panel=o.EXECUTION,
        ),
    ] = default_of(*_MINE, "below")
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=1,
            help="Epochs of each training; default by architecture, 6 to 10.",
            rich_help_panel=o.EXECUTION,
        ),
    ] = None


@from_fields
def mine(
    source: Source,
    images: i.Images,
    committee: Committee,
    *,
    seed: o.Seed = o.SEED,
    quick: Annotated[
        bool, typer.Option("--quick", help="A dry run in seconds: 600 images, 1 epoch; its numbers are not results.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Directory; finished parts in it are not computed again. Default: runs/mining, or runs/mining-quick.",
            rich_help_panel=o.OUTPUT,
            show_default=False,
        ),
    ] = None,
    device: o.Device = o.DEVICE,
    json: o.Json = False,
) -> None:
    """Mines a data set for natural adversarial examples: unmodified ones that a whole committee misclassifies.

    Every network is trained once per fold on the other folds and judges this fold, so that no network judges its own
    training images. Hard examples whose label confident learning doubts are listed apart. Networks that are held out
    have no vote: they show whether the set is hard for other networks, compared with other examples of the same labels.
    Ctrl-C loses nothing; the same command resumes.
    """
    from robustlab.studies import FULL, Budget, mining

    chosen = parse.data(source.data, source.split, size=images, limit=source.limit, seed=seed)
    home = out or HOME / ("mining-quick" if quick else "mining")
    budget = Budget("quick", images=600, epochs=1) if quick else FULL
    names = (committee.models or mining.COMMITTEE, committee.held_out or mining.HELD_OUT)
    voting, outside = ({name: mining.network(name, epochs=committee.epochs) for name in some} for some in names)
    parse.device(device)
    with resumable(home), show.bars("mine") as report:
        work = mining.Work(seed, budget, device, report)
        folds, below = committee.folds, committee.below
        found = mining.mine(voting, chosen, held_out=outside, folds=folds, below=below, out=home, work=work)
    _print(found, home, json=json)
    if quick:
        show.say("These numbers are of a dry run and are not results.", "warning")


def _print(found: Mined, home: Path, *, json: bool) -> None:
    """Prints the result."""
    if json:
        show.machine(found.to_json())
        return
    from robustlab.studies.mining.words import sentences, tables

    show.paragraph(found.data, sentences(found))
    for one in tables(found):
        show.table(one.head, one.rows, title=one.title)
    show.say(f"Numbers of the examples: {home / 'mined.json'}")


register_command("mine", mine, example=EXAMPLE)
