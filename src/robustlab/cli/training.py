"""Settings of commands that train: optimizers, schedules, precision, the preset of ``--robust``.

Also the steps before and after training: splitting BatchNorm and saving weights.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from robustlab.cli.fields import Typed
from robustlab.cli.recipes import ball
from robustlab.cli.train_options import BATCH_SIZE, EPOCHS, PRECISION, Length, Rule

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from robustlab.core import Examples, Recipe
    from robustlab.training import Settings
    from robustlab.training.optimizers import MakeOptimizer
    from robustlab.training.schedule import Schedule
    from robustlab.training.settings import Precision

_UNFIT = {
    "lbfgs": "evaluates the loss several times per step",
    "sparseadam": "needs sparse gradients",
    "muon": "takes matrices",
}


_RULE = Rule("sgd", schedule="one-cycle")


@dataclass(frozen=True)
class Preset:
    """Defaults of a command that trains.

    Args:
        model: its name.
        recipe: its name.
        epochs: passes over the data.
        batch_size: the largest.
        rule: of the updates.
        precision: "auto": bf16 where it is faster, else fp32.
        eps: of the recipe; None: the usual one.
        bn_mode: of the recipe; None: its own.
        steps: of the recipe; None: its own.
        stride: length of a step, as a fraction of eps, for that number of steps; None: the recipe's own.
    """

    model: str = "shallow-cnn"
    recipe: str = "standard"
    epochs: int = EPOCHS
    batch_size: int = BATCH_SIZE
    rule: Rule = _RULE
    precision: str = PRECISION
    eps: str | None = None
    bn_mode: str | None = None
    steps: int | None = None
    stride: float | None = None


PLAIN = Preset()
ROBUST_RECIPE = "pgd"
"""The recipe of ``--robust``, with two steps: the most robust in equal time in ``benchmarks/time_to_robustness.py``."""
ROBUST_IMAGES = 300_000
"""Images that ``--robust`` trains on, over all epochs: 5 epochs of Fashion-MNIST."""


def robust(examples: Examples) -> Preset:
    """The fastest good recipe found on Fashion-MNIST (``benchmarks/time_to_robustness.py``), fitted to the data.

    Grey images get the budget that is usual for them, 0.1, and coloured ones 8/255; small data sets are passed more
    often, at most a hundred times.
    """
    grey = _channels(examples) == 1
    epochs = min(100, max(EPOCHS, round(ROBUST_IMAGES / len(examples))))
    return Preset(
        model="batchnorm-cnn",
        recipe=ROBUST_RECIPE,
        epochs=epochs,
        precision="auto",
        eps="0.1" if grey else "8/255",
        bn_mode="eval",
        steps=2,
        stride=0.7,
    )


def filled(typed: Typed, preset: Preset) -> Typed:
    """Options of the recipe as typed, filled from the preset."""
    linf = (typed.get("norm") or "linf").lower() == "linf"
    found = typed.filled(eps=preset.eps if linf else None, bn_mode=preset.bn_mode, steps=preset.steps)
    if preset.stride is None or typed.get("steps") is not None:
        return found
    eps = cast("float", ball(preset.recipe, found).eps)
    return found.filled(step_size=round(preset.stride * eps, 6))  # rounded as one would type it


def _channels(examples: Examples) -> int:
    import torch

    shape = examples.batch(torch.tensor([0])).x.shape
    return shape[1] if len(shape) == 4 else 0


def settings(length: Length, rule: Rule, preset: Preset, *, seed: int, device: str, best: str | None) -> Settings:
    """Settings of ``fit``, which resume.

    Args:
        length: as typed.
        rule: as typed.
        preset: defaults of what was not typed.
        seed: of the run.
        device: its type.
        best: name of the validation's number by which the best epoch is kept, if there is a validation.
    """
    from robustlab.training import Settings

    if length.patience is not None and best is None:
        raise typer.BadParameter("--patience counts epochs without better robust accuracy: add --hold-out N")
    return Settings(
        epochs=length.epochs or preset.epochs,
        batch_size=length.batch_size or preset.batch_size,
        optimizer=optimizer(rule, preset.rule),
        schedule=schedule(rule, preset.rule),
        seed=seed,
        accumulate=length.accumulate,
        clip=length.clip,
        average=length.average,
        best=best,
        patience=length.patience,
        precision=precision(length.precision or preset.precision),
        device=device,
        resume=True,
    )


def precision(name: str) -> Precision:
    """The precision by name; "auto" is decided when the run begins or is resumed."""
    if name not in ("auto", "fp32", "bf16", "fp16"):
        raise typer.BadParameter(f"there is no precision {name!r}: choose fp32, bf16, fp16 or auto")
    return cast("Precision", name)


def taken(settings: Settings, *places: Path) -> Precision:
    """The precision of a run: that of the first of these directories with a checkpoint, or the faster one."""
    from robustlab.training.precision import chosen, recorded

    return chosen(settings.precision, settings.device, map(recorded, places))


def optimizer(rule: Rule, preset: Rule) -> MakeOptimizer:
    """The optimizer: sgd and adamw as this package tunes them, any other of torch with its own defaults."""
    from robustlab.training import adamw, sgd, tuned

    name = (rule.optimizer or preset.optimizer or "sgd").lower()
    rate = rule.learning_rate
    if rate is None and name == preset.optimizer:
        rate = preset.learning_rate
    typed = {"momentum": rule.momentum, "weight_decay": rule.weight_decay}
    options = {option: value for option, value in typed.items() if value is not None}
    kind = _kind(name)
    for option in options:
        if option not in inspect.signature(kind).parameters:
            raise typer.BadParameter(f"--{option.replace('_', '-')} has no effect on {name}: leave it out")
    makers: dict[str, Callable[..., MakeOptimizer]] = {"sgd": sgd, "adamw": adamw}
    if name not in makers:
        return tuned(kind, **options) if rate is None else tuned(kind, lr=rate, **options)
    return makers[name](**options) if rate is None else makers[name](rate, **options)


def _kind(name: str) -> type[torch.optim.Optimizer]:
    """The class of an optimizer of torch by its name in any case."""
    import torch

    found = {
        word.lower(): kind
        for word, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }
    if name in _UNFIT:
        raise typer.BadParameter(
            f"{name} does not fit the training loop, because it {_UNFIT[name]}: choose sgd or adamw"
        )
    if name not in found:
        from robustlab.core.text import choice

        raise typer.BadParameter(f"there is no optimizer {name!r}{choice(name, sorted(found.keys() - _UNFIT.keys()))}")
    return found[name]


def schedule(rule: Rule, preset: Rule) -> Schedule:
    """The schedule of the learning rate by its name, with its own options."""
    from robustlab.training import Constant, Cosine, Cyclic, MultiStep, OneCycle

    schedules: dict[str, Callable[[], Schedule]] = {
        "one-cycle": OneCycle,
        "cosine": Cosine,
        "constant": Constant,
        "multi-step": lambda: MultiStep() if rule.drops is None else MultiStep(_fractions(rule.drops)),
        "cyclic": lambda: Cyclic() if rule.cycles is None else Cyclic(rule.cycles),
    }
    name = rule.schedule or preset.schedule or "one-cycle"
    if name not in schedules:
        from robustlab.core.text import choice

        raise typer.BadParameter(f"there is no schedule {name!r}{choice(name, schedules)}")
    for option, owner in (("drops", "multi-step"), ("cycles", "cyclic")):
        if getattr(rule, option) is not None and name != owner:
            raise typer.BadParameter(f"the schedule {name} does not use --{option}: it is for {owner}")
    return schedules[name]()


def _fractions(words: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in words.split(","))
    except ValueError:
        raise typer.BadParameter(f"--drops are fractions of all steps, as 0.5,0.75, got {words!r}") from None


def split(network: nn.Module, recipe: Recipe) -> nn.Module:
    """The network with as many routes through it as the recipe needs, if it has fewer."""
    from robustlab.core.routes import routes_of
    from robustlab.models import split_bn

    routes = getattr(recipe, "routes", 1)
    return network if routes_of(network) >= routes else split_bn(network, routes)


def kept(network: nn.Module, place: Path) -> Path:
    """Writes the weights of a network, without auxiliary BatchNorm; returns the path."""
    from robustlab.core.routes import routed_parts
    from robustlab.models import merged, save

    weights = place / "model.safetensors"
    save(merged(network) if routed_parts(network) else network, weights)
    return weights
