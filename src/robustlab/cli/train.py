"""robustlab train: train a model, on clean or on adversarial examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import typer

from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.run import directory, resumable

if TYPE_CHECKING:
    from torch import nn

    from robustlab.core import Examples, Recipe, ThreatModel
    from robustlab.training import History
    from robustlab.training.optimizers import MakeOptimizer
    from robustlab.training.schedule import Schedule
    from robustlab.training.settings import Precision

EXAMPLE = "robustlab train shallow-cnn --recipe adversarial --attack pgd --steps 7 --eps 0.1 --epochs 5 --out runs/pgd"

Name = Annotated[
    str, typer.Argument(help="Name of a model (shallow-cnn, timm:resnet18, ...), or package.module:function.")
]
RecipeName = Annotated[str, typer.Option("--recipe", help="standard or adversarial.", rich_help_panel=o.HOW)]
Attack = Annotated[
    str, typer.Option("--attack", help=f"Of adversarial training, such as {parse.STEPPED}.", rich_help_panel=o.HOW)
]
Eps = Annotated[str, typer.Option("--eps", help="Budget of that attack, as 0.1 or 8/255.", rich_help_panel=o.HOW)]
Mix = Annotated[
    float,
    typer.Option("--mix", min=0.0, max=1.0, help="Share of the loss on adversarial examples.", rich_help_panel=o.HOW),
]
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the data.", rich_help_panel=o.HOW)]
Optimizer = Annotated[str, typer.Option("--optimizer", help="sgd or adamw.", rich_help_panel=o.HOW)]
Rate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate", min=0.0, help="Highest rate; default 0.1 for sgd, 0.001 for adamw.", rich_help_panel=o.HOW
    ),
]
ScheduleName = Annotated[
    str, typer.Option("--schedule", help="Of the rate: one-cycle, cosine or constant.", rich_help_panel=o.HOW)
]
PrecisionName = Annotated[str, typer.Option("--precision", help="fp32, bf16 or fp16.", rich_help_panel=o.HOW)]


def train(
    model: Name = "shallow-cnn",
    data: o.Data = "fashion-mnist",
    split: o.Split = "train",
    size: o.Size = None,
    limit: o.Limit = None,
    recipe: RecipeName = "standard",
    attack: Attack = "fgsm-rs",
    eps: Eps = "8/255",
    norm: o.Norm = "linf",
    steps: o.Steps = 7,
    mix: Mix = 1.0,
    epochs: Epochs = 5,
    batch_size: o.BatchSize = 128,
    optimizer: Optimizer = "sgd",
    learning_rate: Rate = None,
    schedule: ScheduleName = "one-cycle",
    precision: PrecisionName = "fp32",
    seed: o.Seed = 0,
    device: o.Device = "auto",
    out: o.Out = None,
    json: o.Json = False,
) -> None:
    """Trains a model; a checkpoint after each epoch, the last weights in model.safetensors.

    Ctrl-C keeps the epochs that are complete; the same command with --out DIRECTORY goes on.
    """
    from robustlab.models import save
    from robustlab.training import Settings, fit, progress_bar

    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=_optimizer(optimizer, learning_rate),
        schedule=_schedule(schedule),
        seed=seed,
        precision=cast("Precision", precision),
        device=parse.device(device).type,
        resume=True,
    )
    way = _recipe(recipe, attack, parse.threat(norm, parse.budgets([eps])[-1]), Strength(steps, mix))
    examples = parse.data(data, split, size=size, limit=limit, seed=seed)
    place = directory(out, model, recipe)
    network = parse.fitting(_network(model, examples, seed), examples)
    with resumable(place), progress_bar(f"train {model}", console=show.notes()) as progress:
        history = fit(network, way, examples, settings, out=place, progress=progress)
    save(network, place / "model.safetensors")
    if json:
        show.machine({"model": str(place / "model.safetensors"), "epochs": history.epochs})
    else:
        _shown(history)
    show.say(f"Model: {place / 'model.safetensors'}", "good")


class Strength(NamedTuple):
    """How hard adversarial training is."""

    steps: int
    mix: float


def _network(name: str, examples: Examples, seed: int) -> nn.Module:
    """A network without published weights, for inputs and classes like these."""
    import torch

    from robustlab.models import load

    shape = examples.batch(torch.tensor([0])).x.shape[1:]
    channels, side = (shape[0], shape[-1]) if len(shape) == 3 else (None, None)
    return load(name, classes=len(examples.classes), channels=channels, size=side, seed=seed)


def _recipe(name: str, attack: str, threat: ThreatModel, strength: Strength) -> Recipe:
    from robustlab.training import adversarial, standard

    if name == "standard":
        return standard()
    if name != "adversarial":
        raise typer.BadParameter(f"there is no recipe {name!r}: choose standard or adversarial")
    return adversarial(parse.attack(attack, threat, steps=strength.steps), mix=strength.mix)


def _optimizer(name: str, rate: float | None) -> MakeOptimizer:
    from robustlab.training import adamw, sgd

    makers: dict[str, Callable[..., MakeOptimizer]] = {"sgd": sgd, "adamw": adamw}
    if name not in makers:
        raise typer.BadParameter(f"there is no optimizer {name!r}: choose sgd or adamw")
    return makers[name]() if rate is None else makers[name](rate)


def _schedule(name: str) -> Schedule:
    from robustlab.training import Constant, Cosine, OneCycle

    schedules: dict[str, Schedule] = {"one-cycle": OneCycle(), "cosine": Cosine(), "constant": Constant()}
    if name not in schedules:
        raise typer.BadParameter(f"there is no schedule {name!r}: choose one-cycle, cosine or constant")
    return schedules[name]


def _shown(history: History) -> None:
    names = [name for name in ("epoch", "loss", "accuracy", "learning_rate", "seconds") if name in history.epochs[0]]
    rows = [[f"{epoch[name]:.4g}" for name in names] for epoch in history.epochs]
    show.table([name.replace("_", " ") for name in names], rows)
