"""Options of commands that train, those of recipes left out, by subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli.defaults import default_of
from robustlab.cli.recipes import PANEL

_SETTINGS = "training/settings.py", "Settings"
_SGD, _ADAMW = (("training/optimizers.py", name) for name in ("sgd", "adamw"))
EPOCHS = 5
BATCH_SIZE: int = default_of(*_SETTINGS, "batch_size")
PRECISION: str = default_of(*_SETTINGS, "precision")
SGD_RATE: float = default_of(*_SGD, "learning_rate")
ADAMW_RATE: float = default_of(*_ADAMW, "learning_rate")
_SGD_MOMENTUM = default_of(*_SGD, "momentum")
_SGD_DECAY, _ADAMW_DECAY = (default_of(*one, "weight_decay") for one in (_SGD, _ADAMW))
_DROPS = ",".join(map(str, default_of("training/schedule.py", "MultiStep", "drops")))
_CYCLES = default_of("training/schedule.py", "Cyclic", "cycles")
RUN, UPDATES = "Run", "Updates"
SCHEDULES = "one-cycle, cosine, multi-step, cyclic or constant"
PRECISIONS = f"fp32, bf16, fp16, or auto: bf16 where it is faster. Default: {PRECISION}"

BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help=f"Examples at a time; default {BATCH_SIZE}.",
        rich_help_panel=RUN,
    ),
]
Precision = Annotated[str | None, typer.Option("--precision", help=f"{PRECISIONS}.", rich_help_panel=RUN)]


@dataclass(frozen=True)
class Network:
    """The network that is trained."""

    model: Annotated[
        str | None,
        typer.Argument(
            help="Name of a model (shallow-cnn, timm:resnet18, ...), or package.module:function. Default: shallow-cnn, "
            "with --robust batchnorm-cnn.",
            show_default=False,
        ),
    ] = None
    activation: Annotated[
        str | None,
        typer.Option("--activation", help="Smooth activation in place of ReLU, such as silu.", rich_help_panel=o.INPUT),
    ] = None


@dataclass(frozen=True)
class Corrupting:
    """Corruptions of the images that any recipe is trained on."""

    corruptions: Annotated[
        list[str] | None,
        typer.Option(
            "--corruptions",
            help="Train any recipe on corrupted images: names, several separated by commas or repeated; all: the 15 of "
            "ImageNet-C and its 4 extra ones.",
            rich_help_panel=PANEL,
        ),
    ] = None
    severities: Annotated[
        str | None,
        typer.Option(
            "--severities", help="Severities of --corruptions, as 1-3 or 1,3,5; default 1-3.", rich_help_panel=PANEL
        ),
    ] = None
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant",
            help="Variant of --corruptions: imagenet-c (the default), corrected, cifar-c (for small images) or "
            "imagecorruptions.",
            rich_help_panel=PANEL,
        ),
    ] = None


@dataclass(frozen=True)
class Length:
    """Length of a run; None: the value of the preset."""

    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help=f"Passes over the data; default {EPOCHS}.", rich_help_panel=RUN),
    ] = None
    batch_size: BatchSize = None
    accumulate: Annotated[
        int,
        typer.Option(
            "--accumulate", min=1, help="Number of parts of a batch whose gradients are added.", rich_help_panel=RUN
        ),
    ] = default_of(*_SETTINGS, "accumulate")
    clip: Annotated[
        float | None,
        typer.Option("--clip", help="Largest L2 norm of the gradient of all weights.", rich_help_panel=UPDATES),
    ] = None
    average: Annotated[
        float | None,
        typer.Option(
            "--average",
            help="Decay of a moving average of the weights, such as 0.999; the average is evaluated and saved.",
            rich_help_panel=UPDATES,
        ),
    ] = None
    patience: Annotated[
        int | None,
        typer.Option("--patience", help="End after this number of epochs without a better one.", rich_help_panel=RUN),
    ] = None
    precision: Annotated[
        str | None, typer.Option("--precision", help=f"{PRECISIONS}, with --robust auto.", rich_help_panel=RUN)
    ] = None
    hold_out: Annotated[
        int | None,
        typer.Option(
            "--hold-out",
            min=1,
            help="Number of held-out examples, attacked with PGD-10 after each epoch; the best weights are kept.",
            rich_help_panel=RUN,
        ),
    ] = None


@dataclass(frozen=True)
class Rule:
    """The rule of the updates; None: the usual value."""

    optimizer: Annotated[
        str | None,
        typer.Option(
            "--optimizer",
            help="sgd (the default), adamw, or any other optimizer of torch by its name.",
            rich_help_panel=UPDATES,
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            min=0.0,
            help=f"Highest learning rate; default {SGD_RATE:g} for sgd, {ADAMW_RATE:g} for adamw, "
            "torch's default for others.",
            rich_help_panel=UPDATES,
        ),
    ] = None
    momentum: Annotated[
        float | None,
        typer.Option(
            "--momentum",
            help=f"Momentum, for optimizers that have it; default {_SGD_MOMENTUM:g} for sgd.",
            rich_help_panel=UPDATES,
        ),
    ] = None
    weight_decay: Annotated[
        float | None,
        typer.Option(
            "--weight-decay",
            help=f"Weight decay; default {_SGD_DECAY:g} for sgd, {_ADAMW_DECAY:g} for adamw.",
            rich_help_panel=UPDATES,
        ),
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", help=f"{SCHEDULES}; default one-cycle.", rich_help_panel=UPDATES),
    ] = None
    drops: Annotated[
        str | None,
        typer.Option(
            "--drops",
            help=f"Fractions of the training after which multi-step drops to a tenth; default {_DROPS}.",
            rich_help_panel=UPDATES,
        ),
    ] = None
    cycles: Annotated[
        int | None,
        typer.Option(
            "--cycles", help=f"Number of cycles of the cyclic schedule; default {_CYCLES}.", rich_help_panel=UPDATES
        ),
    ] = None
