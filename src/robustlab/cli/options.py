"""Options that several commands have, said once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from robustlab.cli.parse import EPS

WHAT, HOW, OUTPUT = "What", "How", "Output"

Model = Annotated[
    str,
    typer.Argument(
        help="package.module:function returning the model, a timm name, a checkpoint, or a training run's directory.",
        show_default=False,
    ),
]
Architecture = Annotated[
    str | None,
    typer.Option(
        "--architecture",
        help="Name of the architecture, for a checkpoint that does not say; or type NAME=CHECKPOINT.",
        rich_help_panel=WHAT,
    ),
]
Classes = Annotated[
    int | None,
    typer.Option("--classes", min=2, help="Number of classes, where the model can have any.", rich_help_panel=WHAT),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="Name of a data set (robustlab data lists them; torchvision:Flowers102), or a folder with one folder per "
        "class.",
        rich_help_panel=WHAT,
    ),
]
Split = Annotated[str, typer.Option("--split", help="Which part of the data set.", rich_help_panel=WHAT)]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        min=1,
        help="Side N in pixels that images of a folder or torchvision are brought to: the shorter side is scaled to "
        "N / 0.875, then the centre is cut out. Default: as the model was published with, else as they "
        "are.",
        rich_help_panel=WHAT,
    ),
]
Attacks = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        help="One or more, by commas or repeated: {attacks}. Default: autoattack, the standard suite.",
        rich_help_panel=WHAT,
    ),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="A first look: APGD-CE and APGD-T on a random sample of 500 (or --limit): an upper bound.",
        rich_help_panel=WHAT,
    ),
]
_USUAL = "; default by norm: " + ", ".join(f"{norm} {eps}" for norm, eps in EPS.items())
Eps = Annotated[
    list[str] | None,
    typer.Option(
        "--eps",
        help=f"Budget in units of [0, 1], as 0.1 or 8/255, several by commas or repeated{_USUAL}.",
        rich_help_panel=WHAT,
    ),
]
OneEps = Annotated[str | None, typer.Option("--eps", help=f"Budget, as 0.1 or 8/255{_USUAL}.", rich_help_panel=WHAT)]
Norm = Annotated[str, typer.Option("--norm", help="linf, l2 or l1.", rich_help_panel=WHAT)]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Of iterated attacks.", rich_help_panel=WHAT)]
OwnSteps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        min=1,
        help="Of attacks that take steps; default 40, for apgd and fab 100.",
        rich_help_panel=WHAT,
    ),
]
Restarts = Annotated[
    int, typer.Option("--restarts", min=1, help="Runs of attacks that start at random.", rich_help_panel=WHAT)
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Examples at a time.", rich_help_panel=HOW)]
Seed = Annotated[int, typer.Option("--seed", help="Of every random draw.", rich_help_panel=HOW)]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda or mps; auto takes cuda, mps or cpu.", rich_help_panel=HOW)
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Only so many examples, a simple random sample.", rich_help_panel=WHAT),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.", rich_help_panel=OUTPUT)
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Directory of the run; if it holds this run unfinished, it goes on.", rich_help_panel=OUTPUT
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--name", help="What reports call the model; default: as it was typed.", rich_help_panel=OUTPUT),
]
Png = Annotated[
    bool,
    typer.Option(
        "--png", help="Also write what fooled the model as PNG, each loaded again and checked.", rich_help_panel=OUTPUT
    ),
]
Runs = Annotated[list[Path], typer.Argument(help="Directories of runs.", show_default=False)]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 4 if there is a serious finding.", rich_help_panel=OUTPUT)
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Go on although something serious was found about model or data beforehand.",
        rich_help_panel=OUTPUT,
    ),
]
FailUnder = Annotated[
    float | None,
    typer.Option(
        "--fail-under",
        min=0.0,
        max=1.0,
        help="Exit with 3 if the lower bound of robust accuracy at the largest eps is below this fraction, e.g. 0.3.",
        rich_help_panel=OUTPUT,
    ),
]


@dataclass(frozen=True)
class Learned:
    """Data that are learned from."""

    data: Data = "fashion-mnist"
    split: Split = "train"
    limit: Limit = None


@dataclass(frozen=True)
class Measured:
    """A trained model, and the data that it is measured on."""

    model: Model
    architecture: Architecture = None
    classes: Classes = None
    data: Data = "fashion-mnist"
    split: Split = "test"


@dataclass(frozen=True)
class Run:
    """Draws, device and output of a run that goes on where it stopped."""

    seed: Seed = 0
    device: Device = "auto"
    out: Out = None
    json: Json = False
