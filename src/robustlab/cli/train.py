"""robustlab train: training of a model, on clean or on adversarial examples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import typer

from robustlab.cli import images as i
from robustlab.cli import options as o
from robustlab.cli import parse, recipes, show, training
from robustlab.cli import train_options as t
from robustlab.cli.codes import Code
from robustlab.cli.commands import register_command
from robustlab.cli.fields import Late, Typed
from robustlab.cli.run import directory, resumable

if TYPE_CHECKING:
    from torch import nn

    from robustlab.core import Examples, Recipe, ThreatModel
    from robustlab.models.smooth import Activation
    from robustlab.runs.progress import Report
    from robustlab.studies import Watch
    from robustlab.training import History, Settings

EXAMPLE = "robustlab train batchnorm-cnn --recipe pgd --eps 0.1 --epochs 5 --hold-out 1000 --out runs/pgd"
_COLUMNS = {
    "epoch": "epoch",
    "loss": "loss",
    "accuracy": "accuracy",
    "validation_clean_accuracy": "held out",
    "validation_robust_accuracy": "attacked",
    "learning_rate": "rate",
    "seconds": "seconds",
}
"""Columns of the table of epochs, narrow enough for a small terminal."""
WATCHED_STEPS = 10
"""Steps of PGD on held-out examples."""
Robust = Annotated[
    bool,
    typer.Option(
        "--robust",
        help="The best recipe for its time in our benchmarks: pgd with 2 steps.",
        rich_help_panel=recipes.PANEL,
    ),
]


def _train(
    network: t.Network,
    source: o.Learned,
    images: i.Images,
    *,
    robust: Robust = False,
    recipe: Typed,
    corrupting: t.Corrupting,
    length: t.Length,
    rule: t.Rule,
    run: o.Run,
) -> None:
    """Trains a model; writes a checkpoint after each epoch, and the best weights to model.safetensors.

    An option that the recipe does not use is refused; brackets name the recipes that use it, with their defaults.
    Curves are written to DIRECTORY/tensorboard if TensorBoard is installed, and to MLflow if that is installed. Ctrl-C
    keeps the complete epochs; the same command with --out DIRECTORY resumes.
    """
    from robustlab.core.architecture import framed_like

    name = _recipe_name(recipe.get("recipe"), robust=robust)
    spec = recipes.checked(name, recipe, also=("eps", "norm") if length.hold_out else ())
    examples = parse.data(source.data, source.split, size=images, limit=source.limit, seed=run.seed)
    preset = training.robust(examples) if robust else training.PLAIN
    division = _divided(examples, length.hold_out, recipe.get("labels"), run.seed)
    typed = training.filled(recipe, preset)
    built = recipes.build(name, typed, division.unlabelled)
    watch = _watch(division.held, recipes.ball(name, typed), run.seed) if division.held else None
    place, best = parse.device(run.device).type, spec.best if watch else None
    settings = training.settings(length, rule, preset, seed=run.seed, device=place, best=best)
    model = network.model or preset.model
    net = parse.fitting(_network(model, examples, run.seed, network.activation or spec.activation), examples)
    net = training.split(framed_like(net, images.words), built)
    built = recipes.on_corrupted(built, corrupting.corruptions, corrupting.severities, corrupting.variant)
    here = Run(directory(run.out, model, name), name, run.json)
    here.note(f"Recipe: {built!r}; epochs: {settings.epochs}; precision: {training.taken(settings, here.place)}")
    here.finished(net, here.fitted(net, built, division.train, settings, watch))


train = Late(_train, recipes.parameters)


class Division(NamedTuple):
    """Training, held-out and unlabelled examples."""

    train: Examples
    held: Examples | None
    """Examples on which each epoch is evaluated."""
    unlabelled: Examples | None
    """Examples that are used without labels."""


class Run(NamedTuple):
    """A run of the command: its directory, title and kind of output."""

    place: Path
    title: str
    json: bool

    def note(self, text: str) -> None:
        """Prints a remark in the first process; the other processes print nothing."""
        if _first():
            show.say(text)

    def fitted(
        self, network: nn.Module, built: Recipe, examples: Examples, settings: Settings, watch: Watch | None
    ) -> History:
        """Trains the network; exits with a code of its own if training diverges."""
        from robustlab.training import DivergedError, fit

        try:
            with resumable(self.place), _progress(self.title, self.place) as progress:
                return fit(network, built, examples, settings, out=self.place, validate=watch, progress=progress)
        except DivergedError as error:
            show.say(str(error), "error")
            raise typer.Exit(Code.DIVERGED) from error

    def finished(self, network: nn.Module, history: History) -> None:
        """Writes the weights, without auxiliary BatchNorm, and prints the results."""
        if not _first():
            return
        weights = training.kept(network, self.place)
        if self.json:
            show.machine({"model": str(weights), "best": history.best, "epochs": history.epochs})
        else:
            _print(history)
        if history.best is not None:
            show.say(f"Best on held-out images: epoch {history.best} of {len(history.epochs)}, whose weights are kept.")
        show.say(f"Model: {weights}", "good")


def _recipe_name(typed: str | None, *, robust: bool) -> str:
    if robust and typed is not None:
        raise typer.BadParameter("--robust chooses the recipe itself: leave out --recipe or --robust")
    return training.ROBUST_RECIPE if robust else typed or training.PLAIN.recipe


def _divided(examples: Examples, held: int | None, labels: int | None, seed: int) -> Division:
    """Sets apart held-out examples, then unlabelled ones."""
    watched, rest = (None, examples) if held is None else parse.apart("--hold-out", held, examples, seed)
    if labels is None:
        return Division(rest, watched, None)
    if labels == len(rest):
        raise typer.BadParameter(
            f"--labels {labels} are all examples: none is left without label; lower it or leave it out"
        )
    labelled, unlabelled = parse.apart("--labels", labels, rest, seed)
    return Division(labelled, watched, unlabelled)


def _watch(held: Examples, threat: ThreatModel, seed: int) -> Watch:
    """PGD on held-out examples."""
    from robustlab.attacks import PGD
    from robustlab.studies import Watch

    return Watch(held, PGD(threat, WATCHED_STEPS), seed)


def _network(name: str, examples: Examples, seed: int, activation: str | None) -> nn.Module:
    """A network without published weights, for inputs and classes like these."""
    from robustlab.models import smooth

    model = parse.untrained(name, examples, seed)
    return model if activation is None else smooth(model, cast("Activation", activation))


@contextmanager
def _progress(title: str, place: Path) -> Iterator[Report]:
    """A bar in the terminal, and curves in TensorBoard and MLflow where they are installed."""
    from robustlab.training import combined, trackers

    with show.bars(f"train {title}") as bar, trackers(place) as curves:
        yield combined(bar, curves)


def _first() -> bool:
    """True in the only process, or the first of those that train together."""
    from robustlab.core.processes import launched

    return launched().first


def _print(history: History) -> None:
    there = {name: title for name, title in _COLUMNS.items() if name in history.epochs[0]}
    rows = [[f"{epoch[name]:.4g}" for name in there] for epoch in history.epochs]
    show.table(list(there.values()), rows)


register_command("train", train, example=EXAMPLE)
