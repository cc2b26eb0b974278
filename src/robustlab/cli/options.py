"""Options of several commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from robustlab.cli.defaults import default_of
from robustlab.cli.parse import EPS

INPUT, EXECUTION, OUTPUT = "Input", "Execution", "Output"
_PLAN = "evaluation/plan.py", "Settings"
BATCH_SIZE: int = default_of(*_PLAN, "batch_size")
SEED: int = default_of(*_PLAN, "seed")
DEVICE: str = default_of(*_PLAN, "device")

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
        help="Name of the architecture, for a checkpoint that does not name it; or type NAME=CHECKPOINT.",
        rich_help_panel=INPUT,
    ),
]
Classes = Annotated[
    int | None,
    typer.Option(
        "--classes", min=2, help="Number of classes, for a model that takes any number.", rich_help_panel=INPUT
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="Name of a data set (robustlab data lists them; torchvision:Flowers102), or a folder with one folder per "
        "class.",
        rich_help_panel=INPUT,
    ),
]
Split = Annotated[str, typer.Option("--split", help="Split of the data set.", rich_help_panel=INPUT)]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        min=1,
        help="Side in pixels that images of a folder or torchvision are resized to, see --resize. Default: the size of "
        "the model's images, if it is known, else unchanged.",
        rich_help_panel=INPUT,
    ),
]
Attacks = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        help="One or more, separated by commas or repeated: {attacks}. Default: autoattack, the standard suite.",
        rich_help_panel=INPUT,
    ),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="A first result: APGD-CE and APGD-T on a random sample of 500 (or --limit): an upper bound.",
        rich_help_panel=INPUT,
    ),
]
_USUAL = "; default by norm: " + ", ".join(f"{norm} {eps}" for norm, eps in EPS.items())
Eps = Annotated[
    list[str] | None,
    typer.Option(
        "--eps",
        help=f"Budget in units of [0, 1], as 0.1 or 8/255, several separated by commas or repeated{_USUAL}.",
        rich_help_panel=INPUT,
    ),
]
OneEps = Annotated[str | None, typer.Option("--eps", help=f"Budget, as 0.1 or 8/255{_USUAL}.", rich_help_panel=INPUT)]
Norm = Annotated[str, typer.Option("--norm", help="linf, l2 or l1.", rich_help_panel=INPUT)]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Steps of iterated attacks.", rich_help_panel=INPUT)]
OwnSteps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        min=1,
        help="Steps of iterated attacks; default 40, for apgd and fab 100.",
        rich_help_panel=INPUT,
    ),
]
Restarts = Annotated[
    int, typer.Option("--restarts", min=1, help="Runs of attacks that start at random.", rich_help_panel=INPUT)
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Examples at a time.", rich_help_panel=EXECUTION)]
Seed = Annotated[int, typer.Option("--seed", help="Seed of every random draw.", rich_help_panel=EXECUTION)]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto, cpu, cuda or mps; auto: the first of cuda, mps and cpu that exists.",
        rich_help_panel=EXECUTION,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        help="Number of examples at most, a simple random sample; default: all.",
        rich_help_panel=INPUT,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.", rich_help_panel=OUTPUT)
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Directory of the run; an unfinished run in it is resumed.", rich_help_panel=OUTPUT),
]
Name = Annotated[
    str | None,
    typer.Option("--name", help="Name of the model in reports; default: as typed.", rich_help_panel=OUTPUT),
]
Png = Annotated[
    bool,
    typer.Option(
        "--png",
        help="Also write the images that fool the model as PNG; each is loaded again and checked.",
        rich_help_panel=OUTPUT,
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
        help="Go on although the doctor has a serious finding about model or data beforehand.",
        rich_help_panel=OUTPUT,
    ),
]


def fail_under(number: str, example: float) -> OptionInfo:
    """The option of a build gate on one number of the result."""
    words = f"Exit with 3 if the lower bound of {number} is below this fraction, e.g. {example:g}."
    option: OptionInfo = typer.Option("--fail-under", min=0.0, max=1.0, help=words, rich_help_panel=OUTPUT)
    return option


FailUnder = Annotated[float | None, fail_under("robust accuracy at the largest eps", 0.3)]


@dataclass(frozen=True)
class Learned:
    """Data for training."""

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
    """Draws, device and output of a run that can be resumed."""

    seed: Seed = SEED
    device: Device = DEVICE
    out: Out = None
    json: Json = False
