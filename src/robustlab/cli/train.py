"""robustlab train: train a model, on clean or on adversarial examples."""

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
"""What is shown of each epoch: short enough for a narrow terminal."""
WATCHED_STEPS = 10
"""Of PGD on the examples that are held out."""
Robust = Annotated[
    bool,
    typer.Option(
        "--robust", help="What we found to be best for its time: pgd with 2 steps.", rich_help_panel=recipes.PANEL
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
    """Trains a model; a checkpoint after each epoch, the weights that came out best in model.safetensors.

    An option that the recipe does not use is refused; brackets say who uses it, and what it is where it is not typed.
    Curves go to DIRECTORY/tensorboard where TensorBoard is installed, and to MLflow where that is. Ctrl-C keeps the
    epochs that are complete; the same command with --out DIRECTORY goes on.
    """
    name = _recipe_name(recipe.get("recipe"), robust=robust)
    spec = recipes.checked(name, recipe, also=("eps", "norm") if length.hold_out else ())
    examples = parse.data(source.data, source.split, size=images, limit=source.limit, seed=run.seed)
    preset = training.robust(examples) if robust else training.PLAIN
    parts = _divided(examples, length.hold_out, recipe.get("labels"), run.seed)
    typed = training.filled(recipe, preset)
    made = recipes.made(name, typed, parts.unlabelled)
    watch = _watch(parts.held, recipes.ball(name, typed), run.seed) if parts.held else None
    place, best = parse.device(run.device).type, spec.best if watch else None
    settings = training.settings(length, rule, preset, seed=run.seed, device=place, best=best)
    model = network.model or preset.model
    net = parse.fitting(_network(model, examples, run.seed, network.activation or spec.activation), examples)
    net = training.split(net, made)
    made = recipes.on_corrupted(made, corrupting.corruptions, corrupting.severities, corrupting.variant)
    here = Run(directory(run.out, model, name), name, run.json)
    here.told(f"Recipe: {made!r}; epochs: {settings.epochs}; precision: {training.taken(settings, here.place)}")
    here.finished(net, here.fitted(net, made, parts.train, settings, watch))


train = Late(_train, recipes.parameters)


class Parts(NamedTuple):
    """The data, divided."""

    train: Examples
    held: Examples | None
    """What training is watched on."""
    unlabelled: Examples | None
    """What is used without its labels."""


class Run(NamedTuple):
    """A run of the command: where it writes, and what it says."""

    place: Path
    title: str
    json: bool

    def told(self, text: str) -> None:
        """A remark of the first process; others train along in silence."""
        if _first():
            show.say(text)

    def fitted(
        self, network: nn.Module, made: Recipe, examples: Examples, settings: Settings, watch: Watch | None
    ) -> History:
        """Trains the network; exits with a code of its own if the loss is no number any more."""
        from robustlab.training import DivergedError, fit

        try:
            with resumable(self.place), _progress(self.title, self.place) as progress:
                return fit(network, made, examples, settings, out=self.place, validate=watch, progress=progress)
        except DivergedError as error:
            show.say(str(error), "error")
            raise typer.Exit(Code.DIVERGED) from error

    def finished(self, network: nn.Module, history: History) -> None:
        """Writes the weights, without auxiliary norms, and says what came of it."""
        if not _first():
            return
        weights = training.kept(network, self.place)
        if self.json:
            show.machine({"model": str(weights), "best": history.best, "epochs": history.epochs})
        else:
            _shown(history)
        if history.best is not None:
            show.say(
                f"Best on what was held out: epoch {history.best} of {len(history.epochs)}, whose weights are kept."
            )
        show.say(f"Model: {weights}", "good")


def _recipe_name(typed: str | None, *, robust: bool) -> str:
    if robust and typed is not None:
        raise typer.BadParameter("--robust chooses the recipe itself: leave out --recipe or --robust")
    return training.ROBUST_RECIPE if robust else typed or training.PLAIN.recipe


def _divided(examples: Examples, held: int | None, labels: int | None, seed: int) -> Parts:
    """Sets apart what is held out, then what goes without labels."""
    watched, rest = (None, examples) if held is None else parse.apart("--hold-out", held, examples, seed)
    if labels is None:
        return Parts(rest, watched, None)
    if labels == len(rest):
        raise typer.BadParameter(f"--labels {labels} are all examples: none is left without label, so leave it out")
    labelled, unlabelled = parse.apart("--labels", labels, rest, seed)
    return Parts(labelled, watched, unlabelled)


def _watch(held: Examples, threat: ThreatModel, seed: int) -> Watch:
    """PGD on what is held out."""
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
    """Whether this is the only process, or the first of those that train together."""
    from robustlab.core.processes import launched

    return launched().first


def _shown(history: History) -> None:
    there = {name: title for name, title in _COLUMNS.items() if name in history.epochs[0]}
    rows = [[f"{epoch[name]:.4g}" for name in there] for epoch in history.epochs]
    show.table(list(there.values()), rows)
