"""Options of ``robustlab finetune`` that no other command has, by subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from robustlab.cli import images as i
from robustlab.cli import options as o
from robustlab.cli import train_options as t
from robustlab.cli.defaults import default_of

_PLAN = "training/finetune.py", "Plan"
STAGES, LAYERS = "Stages", "Layers"
MOST_HELD = 5000
"""Most images that are held out by default, which is a tenth of the data."""


class Epochs(NamedTuple):
    """Passes over the data where none is typed."""

    head: int
    body: int
    images: int | None
    """Images that are used; None: all."""


USUAL, QUICK = Epochs(20, 5, None), Epochs(5, 1, 2000)


@dataclass(frozen=True)
class Pretrained:
    """The pretrained network."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Pretrained: efficientnet-lite0, a timm name, package.module:function, a checkpoint or a training "
            "run.",
            rich_help_panel=o.INPUT,
        ),
    ] = "efficientnet-lite0"
    architecture: o.Architecture = None
    keep_head: Annotated[
        bool,
        typer.Option(
            "--keep-head",
            help="Keep the last layer, if the weights are trained on these classes already.",
            rich_help_panel=o.INPUT,
        ),
    ] = False


@dataclass(frozen=True)
class Images:
    """Size of images, and the order of classes, as typed."""

    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            min=1,
            help="Side in pixels that images are resized to inside the model, those of a folder or torchvision when "
            "they are read, see --resize. "
            "Default: their own, at least 64 for published networks.",
            rich_help_panel=o.INPUT,
        ),
    ] = None
    resize: i.Resize = None
    interpolation: i.Interpolation = None
    classes_from: i.ClassesFrom = None

    @property
    def framed(self) -> i.Images:
        """The same for reading the images."""
        return i.Images(self.size, self.resize, self.interpolation, self.classes_from)


@dataclass(frozen=True)
class Stages:
    """Lengths of the two stages."""

    quick: Annotated[
        bool, typer.Option("--quick", help="A first result: 2,000 images, 5 and 1 epochs.", rich_help_panel=STAGES)
    ] = False
    hold_out: Annotated[
        int | None,
        typer.Option(
            "--hold-out",
            min=0,
            help="Images that are held out; the weights with the best accuracy on them are kept. Default: a tenth, "
            f"at most {MOST_HELD:,}.",
            rich_help_panel=STAGES,
        ),
    ] = None
    head_epochs: Annotated[
        int | None,
        typer.Option(
            "--head-epochs",
            min=0,
            help="Epochs of the last layers, on features of the frozen network that are computed once; default "
            f"{USUAL.head}; "
            "0: leave this stage out.",
            rich_help_panel=STAGES,
        ),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=0,
            help=f"Epochs of the network, unfrozen from the top down; default {USUAL.body}; 0: leave this stage out.",
            rich_help_panel=STAGES,
        ),
    ] = None
    patience: Annotated[
        int,
        typer.Option(
            "--patience",
            min=1,
            help="End a stage after this number of epochs without a better one.",
            rich_help_panel=STAGES,
        ),
    ] = 3
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="Folder of the features, which several runs can share; default: in the directory of the run.",
            rich_help_panel=STAGES,
        ),
    ] = None
    batch_size: t.BatchSize = None
    precision: t.Precision = None


@dataclass(frozen=True)
class Layers:
    """Learning rates of the layers, and the order in which they are unfrozen."""

    head_rate: Annotated[
        float, typer.Option("--head-rate", min=0.0, help="Learning rate of the first stage.", rich_help_panel=LAYERS)
    ] = t.ADAMW_RATE
    learning_rate: Annotated[
        float,
        typer.Option(
            "--learning-rate", min=0.0, help="Learning rate of the head in the second stage.", rich_help_panel=LAYERS
        ),
    ] = t.ADAMW_RATE
    decay: Annotated[
        float,
        typer.Option("--decay", help="Rate of a group of layers relative to the group above.", rich_help_panel=LAYERS),
    ] = default_of(*_PLAN, "decay")
    open_by: Annotated[
        float,
        typer.Option(
            "--open-by",
            help="Fraction of the second stage, 0..1, after which all groups are unfrozen.",
            rich_help_panel=LAYERS,
        ),
    ] = default_of(*_PLAN, "fraction")
    groups: Annotated[
        int | None,
        typer.Option(
            "--groups",
            min=1,
            help="Number of groups, from the top, that are unfrozen; default: all.",
            rich_help_panel=LAYERS,
        ),
    ] = None
    keep_statistics: Annotated[
        bool,
        typer.Option(
            "--keep-statistics/--new-statistics",
            help="BatchNorm keeps the running statistics of the weights, or follows the data, which takes many "
            "images. The auxiliary BatchNorm of advprop always follows the data.",
            rich_help_panel=LAYERS,
        ),
    ] = True
