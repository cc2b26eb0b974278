"""The options of ``robustlab finetune`` beside those that other commands have, too, by what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from robustlab.cli import images as i
from robustlab.cli import options as o
from robustlab.cli import train_options as t

STAGES, LAYERS = "Stages", "Layers"


@dataclass(frozen=True)
class Pretrained:
    """The network, as it comes."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Pretrained: efficientnet-lite0, a timm name, package.module:function, a checkpoint or a training "
            "run.",
            rich_help_panel=o.WHAT,
        ),
    ] = "efficientnet-lite0"
    architecture: o.Architecture = None
    keep_head: Annotated[
        bool,
        typer.Option(
            "--keep-head",
            help="Keep the last layer, of weights that know these classes already.",
            rich_help_panel=o.WHAT,
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
            help="Side in pixels that images are brought to inside the model, those of a folder or torchvision when "
            "they are read: the shorter side is scaled to SIZE / 0.875, then the centre is cut out. "
            "Default: their own, at least 64 for published networks.",
            rich_help_panel=o.WHAT,
        ),
    ] = None
    resize: i.Resize = None
    interpolation: i.Interpolation = None
    classes_from: i.ClassesFrom = None


@dataclass(frozen=True)
class Stages:
    """Lengths of the two stages."""

    quick: Annotated[
        bool, typer.Option("--quick", help="A first look: 2,000 images, 5 and 1 epochs.", rich_help_panel=STAGES)
    ] = False
    hold_out: Annotated[
        int | None,
        typer.Option(
            "--hold-out",
            min=0,
            help="Images that are kept apart, by whose accuracy the best weights are kept; default a tenth, at most "
            "5000.",
            rich_help_panel=STAGES,
        ),
    ] = None
    head_epochs: Annotated[
        int | None,
        typer.Option(
            "--head-epochs",
            min=0,
            help="Of the last layers, on features of the frozen network that are made once; default 20; 0: leave it "
            "out.",
            rich_help_panel=STAGES,
        ),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=0,
            help="Of the network, opened from the top down; default 5; 0: leave it out.",
            rich_help_panel=STAGES,
        ),
    ] = None
    patience: Annotated[
        int,
        typer.Option(
            "--patience", min=1, help="End a stage after so many epochs without a better one.", rich_help_panel=STAGES
        ),
    ] = 3
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="Folder of the features, which runs may share; default: in the directory of the run.",
            rich_help_panel=STAGES,
        ),
    ] = None
    batch_size: t.BatchSize = None
    precision: t.Precision = None


@dataclass(frozen=True)
class Layers:
    """Rates of the layers, and when they are opened."""

    head_rate: Annotated[
        float, typer.Option("--head-rate", min=0.0, help="Learning rate of the first stage.", rich_help_panel=LAYERS)
    ] = 1e-3
    learning_rate: Annotated[
        float,
        typer.Option("--learning-rate", min=0.0, help="Of the head in the second stage.", rich_help_panel=LAYERS),
    ] = 1e-3
    decay: Annotated[
        float,
        typer.Option("--decay", help="Rate of a group of layers beside that of the one above.", rich_help_panel=LAYERS),
    ] = 0.7
    open_by: Annotated[
        float,
        typer.Option(
            "--open-by",
            help="Share of the second stage after which all groups are open, in 0..1.",
            rich_help_panel=LAYERS,
        ),
    ] = 0.5
    groups: Annotated[
        int | None,
        typer.Option(
            "--groups", min=1, help="Only so many groups from the top are ever opened.", rich_help_panel=LAYERS
        ),
    ] = None
    keep_statistics: Annotated[
        bool,
        typer.Option(
            "--keep-statistics/--new-statistics",
            help="Norm layers keep the running statistics of the weights, or follow the data, which takes many images. "
            "The auxiliary ones of advprop always follow theirs.",
            rich_help_panel=LAYERS,
        ),
    ] = True
