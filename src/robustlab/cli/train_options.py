"""The options of ``robustlab train`` beside those that other commands have, too."""

from __future__ import annotations

from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import parse
from robustlab.cli.recipes import NAMES, users
from robustlab.cli.training import SCHEDULES

RECIPE, RUN, UPDATES = "Recipe", "Run", "Updates"


def _of(option: str, text: str) -> str:
    """Help of an option with the recipes that use it."""
    return f"{text} [{users(option)}]"


Name = Annotated[
    str | None,
    typer.Argument(
        help="Name of a model (shallow-cnn, timm:resnet18, ...), or package.module:function. Default: shallow-cnn, "
        "with --robust batchnorm-cnn.",
        show_default=False,
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option("--recipe", help=f"{NAMES}. Default: standard.", rich_help_panel=RECIPE, show_default=False),
]
Robust = Annotated[
    bool,
    typer.Option(
        "--robust",
        help="What we found to be best for its time: pgd with 2 steps.",
        rich_help_panel=RECIPE,
    ),
]
Activation = Annotated[
    str | None,
    typer.Option(
        "--activation",
        help="Smooth one in place of ReLU, such as silu.",
        rich_help_panel=o.WHAT,
    ),
]
Attack = Annotated[
    str | None,
    typer.Option("--attack", help=_of("attack", f"Such as {parse.STEPPED}; default fgsm-rs"), rich_help_panel=RECIPE),
]
Eps = Annotated[
    str | None,
    typer.Option(
        "--eps",
        help="Budget, as 0.1 or 8/255; default 8/255 (linf), 0.5 (l2), 12 (l1), for advprop 4/255. Of the recipe and "
        "of --hold-out.",
        rich_help_panel=RECIPE,
    ),
]
Norm = Annotated[
    str | None,
    typer.Option("--norm", help="linf, l2 or l1, of that budget; default linf, for vat l2.", rich_help_panel=RECIPE),
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, help=_of("steps", "Of the attack."), rich_help_panel=RECIPE)
]
StepSize = Annotated[
    float | None,
    typer.Option("--step-size", help=_of("step_size", "Of each step, in input units."), rich_help_panel=RECIPE),
]
Mix = Annotated[
    float | None,
    typer.Option("--mix", help=_of("mix", "Share of the loss on changed inputs, in 0..1."), rich_help_panel=RECIPE),
]
Beta = Annotated[
    float | None,
    typer.Option("--beta", help=_of("beta", "Weight of robustness; default 6."), rich_help_panel=RECIPE),
]
Weight = Annotated[
    float | None,
    typer.Option(
        "--weight",
        help=_of("weight", "Of the regulariser, or of adversarial losses; default 0.2, vat and advprop 1, augmix 12."),
        rich_help_panel=RECIPE,
    ),
]
Targeted = Annotated[
    bool | None,
    typer.Option(
        "--targeted/--untargeted",
        help=_of("targeted", "Attack towards a random wrong class (the default), or away from the label."),
        rich_help_panel=RECIPE,
        show_default=False,
    ),
]
SharedNorms = Annotated[
    bool,
    typer.Option(
        "--shared-norms",
        help=_of("shared", "No auxiliary norms, to see what they are good for."),
        rich_help_panel=RECIPE,
    ),
]
Share = Annotated[
    float | None,
    typer.Option(
        "--share", help=_of("share", "Of each batch, that becomes adversarial; default 0.2."), rich_help_panel=RECIPE
    ),
]
Gamma = Annotated[
    float | None,
    typer.Option(
        "--gamma",
        help=_of("gamma", "Size of the change of weights, relative to them; default 0.01, with TRADES 0.005."),
        rich_help_panel=RECIPE,
    ),
]
Replays = Annotated[
    int | None,
    typer.Option("--replays", help=_of("replays", "Updates with each batch; default 8."), rich_help_panel=RECIPE),
]
Entropy = Annotated[
    float | None,
    typer.Option("--entropy", help=_of("entropy", "Weight of entropy minimisation."), rich_help_panel=RECIPE),
]
Labels = Annotated[
    int | None,
    typer.Option(
        "--labels",
        min=1,
        help=_of("labels", "Only so many examples keep their label; the others are used without."),
        rich_help_panel=RECIPE,
    ),
]
Ratio = Annotated[
    int | None,
    typer.Option(
        "--ratio", help=_of("ratio", "Unlabelled examples with each labelled one; default 4."), rich_help_panel=RECIPE
    ),
]
Sigma = Annotated[
    float | None,
    typer.Option(
        "--sigma", help=_of("sigma", "Standard deviation of the noise; default 0.25."), rich_help_panel=RECIPE
    ),
]
Magnitude = Annotated[
    int | None,
    typer.Option(
        "--magnitude",
        help=_of("magnitude", "How strong: 1..10 for augmix, default 3; 0..30 for randaugment, default 9."),
        rich_help_panel=RECIPE,
    ),
]
Corruptions = Annotated[
    list[str] | None,
    typer.Option(
        "--corruptions",
        help="Any recipe, on corrupted images: names, several by commas or repeated; all: those of ImageNet-C with the "
        "4 extra ones.",
        rich_help_panel=RECIPE,
    ),
]
Severities = Annotated[
    str | None,
    typer.Option("--severities", help="Of --corruptions, as 1-3 or 1,3,5; default 1-3.", rich_help_panel=RECIPE),
]
Variant = Annotated[
    str | None,
    typer.Option(
        "--variant",
        help="Of --corruptions: imagenet-c (the default), corrected, cifar-c (for small images) or imagecorruptions.",
        rich_help_panel=RECIPE,
    ),
]
Smoothing = Annotated[
    float | None,
    typer.Option(
        "--label-smoothing", help=_of("smoothing", "Share of each label spread over all."), rich_help_panel=RECIPE
    ),
]
NormMode = Annotated[
    str | None,
    typer.Option(
        "--norm-mode",
        help=_of("norm_mode", "Norm layers while inputs are made: train or eval, which is the faster."),
        rich_help_panel=RECIPE,
    ),
]
EpsWarmup = Annotated[
    float | None,
    typer.Option(
        "--eps-warmup",
        help=_of("eps_warmup", "Share of the training, in 0..1, over which eps rises from 0."),
        rich_help_panel=RECIPE,
    ),
]
StepsWarmup = Annotated[
    float | None,
    typer.Option(
        "--steps-warmup",
        help=_of("steps_warmup", "Share of the training over which the steps rise from 1."),
        rich_help_panel=RECIPE,
    ),
]
HoldOut = Annotated[
    int | None,
    typer.Option(
        "--hold-out",
        min=1,
        help="Keep so many examples apart, attack them with PGD-10 after each epoch; the best weights are kept.",
        rich_help_panel=RUN,
    ),
]
Patience = Annotated[
    int | None,
    typer.Option("--patience", help="End after so many epochs without a better one.", rich_help_panel=RUN),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="Passes over the data; default 5.", rich_help_panel=RUN),
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="Examples at a time; default 128.", rich_help_panel=RUN),
]
Accumulate = Annotated[
    int, typer.Option("--accumulate", min=1, help="Parts that a batch is cut into.", rich_help_panel=RUN)
]
_PRECISIONS = "fp32, bf16, fp16, or auto: bf16 where it is faster. Default: fp32"
Precision = Annotated[str | None, typer.Option("--precision", help=f"{_PRECISIONS}.", rich_help_panel=RUN)]
PrecisionOrRobust = Annotated[
    str | None, typer.Option("--precision", help=f"{_PRECISIONS}, with --robust auto.", rich_help_panel=RUN)
]
Optimizer = Annotated[
    str | None,
    typer.Option(
        "--optimizer", help="sgd (the default), adamw, or any other of torch by its name.", rich_help_panel=UPDATES
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        min=0.0,
        help="Highest rate; default 0.1 for sgd, 0.001 for adamw, for others torch's.",
        rich_help_panel=UPDATES,
    ),
]
Momentum = Annotated[
    float | None,
    typer.Option("--momentum", help="Of optimizers that have it; default 0.9 for sgd.", rich_help_panel=UPDATES),
]
WeightDecay = Annotated[
    float | None,
    typer.Option("--weight-decay", help="Default 5e-4 for sgd, 0.01 for adamw.", rich_help_panel=UPDATES),
]
Schedule = Annotated[
    str | None,
    typer.Option("--schedule", help=f"{SCHEDULES}; default one-cycle.", rich_help_panel=UPDATES),
]
Drops = Annotated[
    str | None,
    typer.Option("--drops", help="Shares of the training where multi-step drops to a tenth; default 0.5,0.75.",
                 rich_help_panel=UPDATES),
]  # fmt: skip
Cycles = Annotated[
    int | None, typer.Option("--cycles", help="Of the cyclic schedule; default 4.", rich_help_panel=UPDATES)
]
Clip = Annotated[
    float | None,
    typer.Option("--clip", help="The largest length of the gradient of all weights.", rich_help_panel=UPDATES),
]
Average = Annotated[
    float | None,
    typer.Option(
        "--average",
        help="Decay of a moving average of the weights, such as 0.999, which is then what is measured and comes back.",
        rich_help_panel=UPDATES,
    ),
]
