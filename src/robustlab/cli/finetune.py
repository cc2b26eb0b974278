"""robustlab finetune: fine-tuning of a pretrained model on other data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robustlab.cli import finetune_options as f
from robustlab.cli import options as o
from robustlab.cli import parse, recipes, show, training
from robustlab.cli import train_options as t
from robustlab.cli.codes import Code
from robustlab.cli.commands import register_command
from robustlab.cli.fields import Late, Typed
from robustlab.cli.run import directory, resumable

if TYPE_CHECKING:
    from torch import nn

    from robustlab.core import Examples, Recipe
    from robustlab.runs.progress import Progress, Report
    from robustlab.training import FineTuned, History, Plan, Settings

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


def _finetune(
    network: f.Pretrained,
    source: o.Learned,
    images: f.Images,
    stages: f.Stages,
    layers: f.Layers,
    recipe: Typed,
    run: o.Run,
) -> None:
    """Fine-tunes a pretrained model on other data: first its last layer, then all layers from the top.

    At first the network is frozen, and its features are computed once and kept on disk, so that an epoch takes seconds.
    Then groups of layers are unfrozen one after the other, each at a lower learning rate than the one above. Ctrl-C
    keeps what is finished; the same command with --out DIRECTORY resumes. The weights with the best accuracy on
    held-out images are in model.safetensors, which robustlab evaluate reads.
    """
    from robustlab.core.architecture import framed_like

    usual, name = f.QUICK if stages.quick else f.USUAL, recipe.get("recipe") or recipes.USUAL
    recipes.checked(name, recipe)
    made = recipes.build(name, recipe)
    framed = images.framed
    found = parse.data(source.data, source.split, size=framed, limit=source.limit or usual.images, seed=run.seed)
    held, rest = _divided(found, stages.hold_out, run.seed)
    plan = _plan(stages, layers, run, usual, held=held is not None)
    if plan.body is None and name != recipes.USUAL:
        raise typer.BadParameter(f"--recipe {name} is for the second stage, which --epochs 0 leaves out")
    net = _network(network, found, size=images.size, seed=run.seed)
    net = training.split(framed_like(net, framed.words), made)
    place = directory(run.out, "finetune", network.model)
    precisions = [training.taken(one, place / "body") for one in (plan.body or plan.head,) if one is not None]
    show.say(f"Recipe: {made!r}; layers: {_layers(net)}; precision: {', '.join(precisions)}")
    _finished(net, _tuned(net, made, rest, plan, held=held, place=place), place, json=run.json)


finetune = Late(_finetune, partial(recipes.parameters, data=False))


def _divided(examples: Examples, held: int | None, seed: int) -> tuple[Examples | None, Examples]:
    """Held-out examples, if there are any, and the rest."""
    from robustlab.data import apart

    count = min(f.MOST_HELD, len(examples) // 10) if held is None else held
    if count >= len(examples):
        raise typer.BadParameter(
            f"--hold-out {count} leaves nothing to train on: {examples.name} has {len(examples)} examples"
        )
    return apart(examples, count, seed=seed) if count else (None, examples)


def _plan(stages: f.Stages, layers: f.Layers, run: o.Run, usual: f.Epochs, *, held: bool) -> Plan:
    """Both stages, or the one that is not left out."""
    from robustlab.training import Plan

    def settings(typed: int | None, otherwise: int, rate: float) -> Settings | None:
        epochs = otherwise if typed is None else typed
        return _settings(stages, epochs, rate, run, held=held) if epochs else None

    head = settings(stages.head_epochs, usual.head, layers.head_rate)
    body = settings(stages.epochs, usual.body, layers.learning_rate)
    if head is None and body is None:
        raise typer.BadParameter("--head-epochs 0 and --epochs 0 leave nothing to train: set one of them")
    return Plan(head, body, layers.decay, layers.open_by, layers.groups, layers.keep_statistics, stages.features)


def _settings(stages: f.Stages, epochs: int, rate: float, run: o.Run, *, held: bool) -> Settings:
    """Settings of a stage; the best epoch is kept if examples are held out."""
    patience = stages.patience if held else None
    length = t.Length(epochs, stages.batch_size, patience=patience, precision=stages.precision)
    rule, best = t.Rule("adamw", rate, schedule="one-cycle"), "accuracy" if patience else None
    place = parse.device(run.device).type
    return training.settings(length, rule, training.PLAIN, seed=run.seed, device=place, best=best)


def _network(network: f.Pretrained, examples: Examples, *, size: int | None, seed: int) -> nn.Module:
    """The pretrained model, made ready for the data."""
    from robustlab.studies import pretrained

    architecture, file = parse.named_file(network.model, network.architecture)
    made = pretrained(
        parse.reachable(architecture or file),
        examples,
        checkpoint=file if architecture else None,
        side=size,
        keep_head=network.keep_head,
        seed=seed,
    )
    return parse.fitting(made, examples)


def _layers(network: nn.Module) -> str:
    from robustlab.training import layer_groups

    return ", ".join(group.name.removeprefix("model.").removeprefix("model.") for group in layer_groups(network))


def _tuned(
    network: nn.Module, recipe: Recipe, examples: Examples, plan: Plan, *, held: Examples | None, place: Path
) -> FineTuned:
    """Runs both stages; exits with a code of its own if training diverges."""
    from robustlab.training import DivergedError
    from robustlab.training import finetune as tune

    try:
        with resumable(place), _watching(place) as progress:
            return tune(network, recipe, examples, plan, out=place, held=held, progress=progress)
    except DivergedError as error:
        show.say(str(error), "error")
        raise typer.Exit(Code.DIVERGED) from error


@contextmanager
def _watching(place: Path) -> Iterator[Report]:
    """A bar for each stage, and curves of the second in TensorBoard and MLflow where they are installed."""
    from robustlab.training import trackers

    with show.bars() as bar, trackers(place) as curves:

        def report(at: Progress) -> None:
            bar(at._replace(task=_TITLES[at.task]))
            if at.task == "body":
                curves(at)

        yield report


def _finished(network: nn.Module, done: FineTuned, place: Path, *, json: bool) -> None:
    """Writes the weights, without auxiliary BatchNorm, and prints the results."""
    from robustlab.core.processes import launched

    if not launched().first:
        return
    weights = training.kept(network, place)
    stages = {"head": done.head, "body": done.body}
    if json:
        trained = {name: {"best": h.best, "epochs": h.epochs} for name, h in stages.items() if h is not None}
        show.machine({"model": str(weights), "kept": done.kept, **trained})
    else:
        for name, history in stages.items():
            if history is not None:
                _print(_TITLES[name], history)
    best = getattr(stages[done.kept], "best", None)
    if best is not None:
        show.say(f"Best on held-out images: epoch {best} of '{_TITLES[done.kept]}', whose weights are kept.")
    show.say(f"Model: {weights}", "good")


def _print(title: str, history: History) -> None:
    there = {name: head for name, head in _COLUMNS.items() if name in history.epochs[0]}
    rows = [[f"{epoch[name]:.4g}" for name in there] for epoch in history.epochs]
    show.table(list(there.values()), rows, title=title.capitalize())


register_command("finetune", finetune, example=EXAMPLE)
