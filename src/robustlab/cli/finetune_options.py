"""The options of ``robustlab finetune`` beside those that other commands have, too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustlab.cli import options as o

STAGES, LAYERS = "Stages", "Layers"

Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="Pretrained: efficientnet-lite0, a timm name, package.module:function, a checkpoint or a training run.",
        rich_help_panel=o.WHAT,
    ),
]
Side = Annotated[
    int | None,
    typer.Option(
        "--size",
        min=1,
        help="Side in pixels that images are brought to inside the model, those of a folder or torchvision when they "
        "are read: the shorter side is scaled to SIZE / 0.875, then the centre is cut out. "
        "Default: their own, at least 64 for published networks.",
        rich_help_panel=o.WHAT,
    ),
]
KeepHead = Annotated[
    bool,
    typer.Option(
        "--keep-head", help="Keep the last layer, of weights that know these classes already.", rich_help_panel=o.WHAT
    ),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="A first look: 2,000 images, 5 and 1 epochs.", rich_help_panel=STAGES)
]
HoldOut = Annotated[
    int | None,
    typer.Option(
        "--hold-out",
        min=0,
        help="Images that are kept apart, by whose accuracy the best weights are kept; default a tenth, at most 5000.",
        rich_help_panel=STAGES,
    ),
]
HeadEpochs = Annotated[
    int | None,
    typer.Option(
        "--head-epochs",
        min=0,
        help="Of the last layers, on features of the frozen network that are made once; default 20; 0: leave it out.",
        rich_help_panel=STAGES,
    ),
]
BodyEpochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        min=0,
        help="Of the network, opened from the top down; default 5; 0: leave it out.",
        rich_help_panel=STAGES,
    ),
]
Patience = Annotated[
    int,
    typer.Option(
        "--patience", min=1, help="End a stage after so many epochs without a better one.", rich_help_panel=STAGES
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--features",
        help="Folder of the features, which runs may share; default: in the directory of the run.",
        rich_help_panel=STAGES,
    ),
]
HeadRate = Annotated[
    float, typer.Option("--head-rate", min=0.0, help="Learning rate of the first stage.", rich_help_panel=LAYERS)
]
Rate = Annotated[
    float,
    typer.Option("--learning-rate", min=0.0, help="Of the head in the second stage.", rich_help_panel=LAYERS),
]
Decay = Annotated[
    float,
    typer.Option("--decay", help="Rate of a group of layers beside that of the one above.", rich_help_panel=LAYERS),
]
Share = Annotated[
    float,
    typer.Option(
        "--open-by", help="Share of the second stage after which all groups are open, in 0..1.", rich_help_panel=LAYERS
    ),
]
Groups = Annotated[
    int | None,
    typer.Option("--groups", min=1, help="Only so many groups from the top are ever opened.", rich_help_panel=LAYERS),
]
KeepStatistics = Annotated[
    bool,
    typer.Option(
        "--keep-statistics/--new-statistics",
        help="Norm layers keep the running statistics of the weights, or follow the data, which takes many images. The "
        "auxiliary ones of advprop always follow theirs.",
        rich_help_panel=LAYERS,
    ),
]
