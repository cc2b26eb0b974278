"""robustlab finetune: bring a pretrained model to other data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from robustlab.cli import finetune_options as f
from robustlab.cli import images as i
from robustlab.cli import options as o
from robustlab.cli import parse, recipes, show, training
from robustlab.cli import train_options as t
from robustlab.cli.codes import Code
from robustlab.cli.recipes import Options
from robustlab.cli.run import directory, resumable

if TYPE_CHECKING:
    from torch import nn

    from robustlab.core import Examples, Recipe
    from robustlab.training import FineTuned, History, Plan, Progress, Settings
    from robustlab.training.finetune import Stage, Watcher

EXAMPLE = "robustlab finetune --model efficientnet-lite0 --data fashion-mnist --size 64 --out runs/fine"
_COLUMNS = {
    "epoch": "epoch",
    "loss": "loss",
    "accuracy": "accuracy",
    "validation_accuracy": "held out",
    "learning_rate": "rate",
    "seconds": "seconds",
}
_TITLES: dict[str, str] = {
    "features": "make features",
    "held-out features": "make features, held out",
    "head": "train the head",
    "body": "train from the top down",
}
MOST_HELD = 5000
"""Images that are held out where nobody says how many: a tenth, but no more."""


class Epochs(NamedTuple):
    """Passes over the data where none is typed."""

    head: int
    body: int
    images: int | None
    """How many are used; None: all."""


USUAL, QUICK = Epochs(20, 5, None), Epochs(5, 1, 2000)


def finetune(
    model: f.Model = "efficientnet-lite0",
    architecture: o.Architecture = None,
    data: o.Data = "fashion-mnist",
    split: o.Split = "train",
    size: f.Side = None,
    resize: i.Resize = None,
    interpolation: i.Interpolation = None,
    classes_from: i.ClassesFrom = None,
    limit: o.Limit = None,
    keep_head: f.KeepHead = False,
    quick: f.Quick = False,
    hold_out: f.HoldOut = None,
    head_epochs: f.HeadEpochs = None,
    epochs: f.BodyEpochs = None,
    patience: f.Patience = 3,
    features: f.Cache = None,
    head_rate: f.HeadRate = 1e-3,
    learning_rate: f.Rate = 1e-3,
    decay: f.Decay = 0.7,
    open_by: f.Share = 0.5,
    groups: f.Groups = None,
    keep_statistics: f.KeepStatistics = True,
    recipe: t.Recipe = None,
    eps: t.Eps = None,
    norm: t.Norm = None,
    label_smoothing: t.Smoothing = None,
    batch_size: t.BatchSize = None,
    precision: t.Precision = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    out: o.Out = None,
    json: o.Json = False,
) -> None:
    """Brings a pretrained model to other data: first its last layer, then the network from the top down.

    The network is frozen at first, and what it makes of the images is computed once and kept on disk, so that an epoch
    takes seconds. Then groups of layers are opened one after the other, each at a lower learning rate than the one
    above. Ctrl-C keeps what is done; the same command with --out DIRECTORY goes on. The weights that did best on what
    was held out are in model.safetensors, which robustlab evaluate reads.
    """
    usual = QUICK if quick else USUAL
    typed = Options(eps=eps, norm=norm, smoothing=label_smoothing)
    way = recipes.checked(recipe or "standard", typed)
    images = i.Images(size, resize, interpolation, classes_from)
    found = parse.data(data, split, size=images, limit=limit or usual.images, seed=seed)
    held, rest = _divided(found, hold_out, seed)
    length = training.Length(batch_size=batch_size, precision=precision, patience=patience if held else None)

    def settings(typed: int | None, otherwise: int, rate: float) -> Settings | None:
        return _settings(typed, otherwise, length, rate, seed=seed, device=device)

    plan = _plan(
        settings(head_epochs, usual.head, head_rate),
        settings(epochs, usual.body, learning_rate),
        decay=decay, share=open_by, groups=groups, keep_statistics=keep_statistics, cache=features,
    )  # fmt: skip
    if plan.body is None and recipe not in (None, "standard"):
        raise typer.BadParameter(f"--recipe {recipe} is for the second stage, which --epochs 0 leaves out")
    network = _network(model, architecture, found, size=size, keep_head=keep_head, seed=seed)
    network = training.split(network, way.routes(typed))
    place = directory(out, "finetune", model)
    made = way.make(typed, None)
    settled = [training.taken(one, place / "body") for one in (plan.body or plan.head,) if one is not None]
    show.say(f"Recipe: {made!r}; layers: {_layers(network)}; precision: {', '.join(settled)}")
    _finished(network, _tuned(network, made, rest, plan, held=held, place=place), place, json=json)


def _divided(examples: Examples, held: int | None, seed: int) -> tuple[Examples | None, Examples]:
    """What is held out, if anything, and the rest."""
    from robustlab.data import apart

    count = min(MOST_HELD, len(examples) // 10) if held is None else held
    if count >= len(examples):
        raise typer.BadParameter(f"--hold-out {count} takes all there is: {examples.name} has {len(examples)} examples")
    return apart(examples, count, seed=seed) if count else (None, examples)


def _settings(
    typed: int | None, otherwise: int, length: training.Length, rate: float, *, seed: int, device: str
) -> Settings | None:
    """Settings of a stage, or None if it is left out."""
    from dataclasses import replace

    epochs = otherwise if typed is None else typed
    if not epochs:
        return None
    rule = training.Rule("adamw", rate, schedule="one-cycle")
    best = "accuracy" if length.patience else None
    place = parse.device(device).type
    return training.settings(replace(length, epochs=epochs), rule, training.PLAIN, seed=seed, device=place, best=best)


def _plan(
    head: Settings | None,
    body: Settings | None,
    *,
    decay: float,
    share: float,
    groups: int | None,
    keep_statistics: bool,
    cache: Path | None,
) -> Plan:
    from robustlab.training import Plan

    if head is None and body is None:
        raise typer.BadParameter("--head-epochs 0 and --epochs 0 leave nothing to do: say one of them")
    return Plan(head, body, decay, share, groups, keep_statistics, cache)


def _network(
    name: str, architecture: str | None, examples: Examples, *, size: int | None, keep_head: bool, seed: int
) -> nn.Module:
    """The pretrained model, made ready for the data."""
    from robustlab.studies import pretrained

    said, file = parse.named_file(name, architecture)
    made = pretrained(
        parse.reachable(said or file),
        examples,
        checkpoint=file if said else None,
        side=size,
        keep_head=keep_head,
        seed=seed,
    )
    return parse.fitting(made, examples)


def _layers(network: nn.Module) -> str:
    from robustlab.training import layer_groups

    return ", ".join(group.name.removeprefix("model.").removeprefix("model.") for group in layer_groups(network))


def _tuned(
    network: nn.Module, recipe: Recipe, examples: Examples, plan: Plan, *, held: Examples | None, place: Path
) -> FineTuned:
    """Does both stages; exits with a code of its own if the loss is no number any more."""
    from robustlab.training import DivergedError
    from robustlab.training import finetune as tune

    try:
        with resumable(place), _watching(place) as progress:
            return tune(network, recipe, examples, plan, out=place, held=held, progress=progress)
    except DivergedError as error:
        show.say(str(error), "error")
        raise typer.Exit(Code.DIVERGED) from error


@contextmanager
def _watching(place: Path) -> Iterator[Watcher]:
    """A bar for each stage, and curves of the second in TensorBoard and MLflow where they are installed."""
    from robustlab.training import trackers

    with show.bars() as bar, trackers(place) as curves:

        def tell(stage: Stage, at: Progress) -> None:
            done = (at.epoch - 1) * at.steps + at.step
            bar(_TITLES[stage], done / (at.epochs * at.steps), _said(at))
            if stage == "body":
                curves(at)

        yield tell


def _said(at: Progress) -> str:
    from robustlab.training.progress import said

    return f"epoch {at.epoch}/{at.epochs}  {said(at)}" if "loss" in at.metrics else ""


def _finished(network: nn.Module, done: FineTuned, place: Path, *, json: bool) -> None:
    """Writes the weights, without auxiliary norms, and says what came of it."""
    from robustlab.core.processes import launched

    if not launched().first:
        return
    weights = training.kept(network, place)
    stages = {"head": done.head, "body": done.body}
    if json:
        told = {name: {"best": h.best, "epochs": h.epochs} for name, h in stages.items() if h is not None}
        show.machine({"model": str(weights), "kept": done.kept, **told})
    else:
        for name, history in stages.items():
            if history is not None:
                _shown(_TITLES[name], history)
    best = getattr(stages[done.kept], "best", None)
    if best is not None:
        show.say(f"Best on what was held out: epoch {best} of '{_TITLES[done.kept]}', whose weights are kept.")
    show.say(f"Model: {weights}", "good")


def _shown(title: str, history: History) -> None:
    there = {name: head for name, head in _COLUMNS.items() if name in history.epochs[0]}
    rows = [[f"{epoch[name]:.4g}" for name in there] for epoch in history.epochs]
    show.table(list(there.values()), rows, title=title.capitalize())
