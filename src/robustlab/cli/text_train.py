"""robustlab text train: training of a classifier of texts, on clean or on adversarial ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import typer

from robustlab.cli import options as o
from robustlab.cli import show
from robustlab.cli.codes import Code
from robustlab.cli.fields import flagged, from_fields
from robustlab.cli.run import directory, resumable
from robustlab.cli.train_options import RUN, UPDATES

if TYPE_CHECKING:
    from torch import nn

    from robustlab.core import Recipe
    from robustlab.data import Sentences
    from robustlab.text import TextRecipe
    from robustlab.training import History, Settings
    from robustlab.training.settings import Precision

EXAMPLE = "robustlab text train --model cnn --data movie-sentences --out runs/cnn"
_HELD, _MOST_HELD = 10, 1000
"""One text of so many is held out for validation, if the data have no split for it; and the most."""
_COLUMNS = {
    "epoch": "epoch",
    "loss": "loss",
    "accuracy": "accuracy",
    "adversarial_accuracy": "on adversarial",
    "validation_accuracy": "held out",
    "seconds": "seconds",
}
PANEL = "Recipe"


@dataclass(frozen=True)
class Learner:
    """The model and its data."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="tfidf: word counts and logistic regression; cnn: convolutions on GloVe vectors; minilm: a sentence "
            "encoder, fine-tuned; or the file of a text model, which is trained further.",
            show_default=False,
        ),
    ]
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="movie-sentences, or csv:FILE with columns text and label, of which a tenth is held out.",
            rich_help_panel=o.INPUT,
        ),
    ] = "movie-sentences"
    text_column: Annotated[
        str | None,
        typer.Option(
            "--text-column",
            help="Column of the texts in the file; of sentence pairs both, as premise,hypothesis.",
            rich_help_panel=o.INPUT,
        ),
    ] = None
    label_column: Annotated[
        str | None,
        typer.Option("--label-column", help="Column of the labels in the file.", rich_help_panel=o.INPUT),
    ] = None


@dataclass(frozen=True)
class Length:
    """Length and rule of the training; None: as fits the model."""

    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="Passes over the data; default: cnn 6, minilm 2.", rich_help_panel=RUN),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, help="Texts at a time; default: cnn 64, minilm 32.", rich_help_panel=RUN),
    ] = None
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            help="Highest rate of AdamW; default: cnn 0.002, minilm 0.00005.",
            rich_help_panel=UPDATES,
        ),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="fp32 (the default), bf16, fp16, or auto.", rich_help_panel=RUN),
    ] = None


@dataclass(frozen=True)
class Against:
    """Adversarial training."""

    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            help="standard, or adversarial-text: also on texts that fooled the model (A2T).",
            rich_help_panel=PANEL,
        ),
    ] = "standard"
    attack: Annotated[
        str | None,
        typer.Option(
            "--attack",
            help="Attack of adversarial-text, as robustlab text recipes lists them; default: deepwordbug.",
            rich_help_panel=PANEL,
        ),
    ] = None
    every: Annotated[
        int | None,
        typer.Option("--every", min=1, help="Epochs from attack to attack; default: 1.", rich_help_panel=PANEL),
    ] = None
    fraction: Annotated[
        float | None,
        typer.Option(
            "--fraction", help="Part of the texts that is attacked each time; default: 0.2.", rich_help_panel=PANEL
        ),
    ] = None
    weight: Annotated[
        float | None,
        typer.Option("--weight", help="Factor of the loss on adversarial texts; default: 1.", rich_help_panel=PANEL),
    ] = None


class Preset(NamedTuple):
    """Defaults of a model."""

    epochs: int
    batch_size: int
    learning_rate: float
    clip: float | None = None


class Division(NamedTuple):
    """Texts for training, for validation, and for the final test if the data have some."""

    train: Sentences
    held: Sentences
    test: Sentences | None


_PRESETS = {"cnn": Preset(6, 64, 2e-3), "minilm": Preset(2, 32, 5e-5, 1.0)}
_OTHER = Preset(2, 64, 1e-3)


@from_fields
def train(learner: Learner, against: Against, length: Length, run: o.Run) -> None:
    """Trains a classifier of texts; writes it to model.safetensors, with its vocabulary, and prints its accuracy.

    A checkpoint is written after each epoch; Ctrl-C keeps the complete epochs, and the same command with --out
    DIRECTORY resumes. The weights of the epoch with the highest accuracy on held-out texts are kept.
    """
    division, place = _divided(learner, run.seed), directory(run.out, "text", learner.model)
    if learner.model == "tfidf":
        _refuse([*_typed(against, recipe="standard"), *_typed(length)], "tfidf is fitted at once")
        _finished(_counted(division), None, division, place, json=run.json)
        return
    settings = _settings(learner.model, length, run)
    network = _network(learner.model, division.train, run.seed)
    recipe = _recipe(against, division.train, settings)
    show.say(f"Recipe: {recipe!r}; epochs: {settings.epochs}")
    history = _fitted(network, recipe, division, settings, place)
    _finished(network, history, division, place, json=run.json)


def _divided(learner: Learner, seed: int) -> Division:
    from robustlab.data import movie_sentences

    data = learner.data
    kind, _, path = data.partition(":")
    if data == "movie-sentences":
        with show.bars() as bar:
            train, held, test = (movie_sentences(one, progress=bar) for one in ("train", "validation", "test"))
        return Division(train, held, test)
    if kind != "csv" or not path:
        raise typer.BadParameter(f"--data is movie-sentences or csv:FILE, got {data!r}")
    return _apart(_of_file(path, learner), seed)


def _of_file(path: str, learner: Learner) -> Sentences:
    """Texts of a CSV file."""
    import numpy as np

    from robustlab.data import Sentences
    from robustlab.evaluation.text.given import read_csv

    found = read_csv(path, text=learner.text_column, label=learner.label_column)
    labels = np.asarray(found.labels, dtype=np.int64)
    classes = found.classes or tuple(str(k) for k in range(int(labels.max(initial=0)) + 1))
    return Sentences(tuple(found.texts), labels, np.arange(len(labels)), classes, found.name)


def _apart(found: Sentences, seed: int) -> Division:
    """Sets apart a tenth of the texts for validation, 1,000 at most."""
    import numpy as np

    from robustlab.core import fold_in
    from robustlab.core.random import Streams

    if len(found) < 2 * _HELD:
        raise typer.BadParameter(f"--data has {len(found)} texts: training needs {2 * _HELD} or more")
    import torch

    draws = Streams(fold_in(seed, 0), torch.arange(len(found))).uniform((1,), dtype=torch.float64)[:, 0]
    order = draws.argsort(stable=True).numpy()
    count = min(len(found) // _HELD, _MOST_HELD)
    held, rest = np.sort(order[:count]), np.sort(order[count:])
    return Division(found.part(rest, f"{found.name} (train)"), found.part(held, f"{found.name} (held out)"), None)


def _settings(model: str, length: Length, run: o.Run) -> Settings:
    from robustlab.training import Settings, adamw

    preset = _PRESETS.get(model, _OTHER)
    return Settings(
        epochs=length.epochs or preset.epochs,
        batch_size=length.batch_size or preset.batch_size,
        optimizer=adamw(preset.learning_rate if length.learning_rate is None else length.learning_rate),
        seed=run.seed,
        clip=preset.clip,
        best="accuracy",
        precision=cast("Precision", length.precision or "fp32"),
        device=run.device,
        resume=run.out is not None,
    )


def _counted(division: Division) -> nn.Module:
    from robustlab.models import fit_tfidf

    train = division.train
    return fit_tfidf(_single(train), train.labels.tolist(), classes=len(train.classes))


def _network(model: str, train: Sentences, seed: int) -> nn.Module:
    """The model before training.

    Raises: typer.BadParameter for one that does not read texts.
    """
    from robustlab import models
    from robustlab.data import text_resource

    classes = len(train.classes)
    with show.bars() as bar:
        if model == "minilm":
            folder = text_resource("minilm", progress=bar)
            return models.sentence_classifier(folder, classes=classes, seed=seed)
        if model == "cnn":
            from robustlab.text.vectors import vectors_in

            found = vectors_in(text_resource("glove", progress=bar))
            return models.word_cnn(_single(train), vectors=(found.words, found.matrix), classes=classes, seed=seed)
    if not Path(model).is_file():
        raise typer.BadParameter(f"--model is tfidf, cnn, minilm or the file of a text model, got {model!r}")
    network = models.load(checkpoint=model)
    if not hasattr(network, "encode"):
        raise typer.BadParameter(f"--model {model} is a {type(network).__name__}, which cannot be trained on texts")
    return network


def _single(train: Sentences) -> list[str]:
    """Texts of one field.

    Raises: typer.BadParameter for pairs.
    """
    if train.texts and not isinstance(train.texts[0], str):
        raise typer.BadParameter("this model reads single texts, and the data have pairs: take --model minilm")
    return cast("list[str]", list(train.texts))


def _recipe(against: Against, train: Sentences, settings: Settings) -> Recipe:
    from robustlab.training import AdversarialTexts, standard

    if against.recipe == "standard":
        _refuse(_typed(against, recipe="standard"), "the recipe standard attacks nothing")
        return standard()
    if against.recipe != "adversarial-text":
        raise typer.BadParameter(f"--recipe is standard or adversarial-text, got {against.recipe!r}")
    numbers = {"every": against.every, "fraction": against.fraction, "weight": against.weight}
    given = {name: value for name, value in numbers.items() if value is not None}
    with flagged({name: f"--{name}" for name in numbers}):
        return AdversarialTexts(
            _attack(against.attack or "deepwordbug"),
            train,
            settings.epochs,
            start=min(1, settings.epochs - 1),
            seed=settings.seed,
            **given,  # type: ignore[arg-type]
        )


def _attack(name: str) -> TextRecipe:
    """An attack on texts by name, see ``robustlab text recipes``."""
    from robustlab.data import text_resource
    from robustlab.text.recipes import recipe

    return recipe(name, resources=text_resource)


def _typed(given: Against | Length, **usual: object) -> list[str]:
    """Options that were typed."""
    values = [(name, value) for name, value in vars(given).items() if value != usual.get(name)]
    return [f"--{name.replace('_', '-')}" for name, _ in values]


def _refuse(options: list[str], reason: str) -> None:
    if options:
        raise typer.BadParameter(f"{', '.join(options)} has no effect, as {reason}: leave it out")


def _fitted(network: nn.Module, recipe: Recipe, division: Division, settings: Settings, place: Path) -> History:
    from robustlab.training import DivergedError, accuracy_on, combined, fit, tokens, trackers

    try:
        with resumable(place), show.bars("train") as bar, trackers(place) as curves:
            examples, validate = tokens(network, division.train), accuracy_on(division.held)
            return fit(
                network, recipe, examples, settings, out=place, validate=validate, progress=combined(bar, curves)
            )
    except DivergedError as error:
        show.say(str(error), "error")
        raise typer.Exit(Code.DIVERGED) from error


def _finished(network: nn.Module, history: History | None, division: Division, place: Path, *, json: bool) -> None:
    """Writes the model, and prints its accuracy on each part of the data."""
    from robustlab import models

    place.mkdir(parents=True, exist_ok=True)
    models.save(network, place / "model.safetensors")
    parts = {"train": division.train, "validation": division.held, "test": division.test}
    found = {name: _accuracy(network, part) for name, part in parts.items() if part is not None}
    if json:
        epochs = [] if history is None else history.epochs
        show.machine({"model": str(place / "model.safetensors"), "accuracy": found, "epochs": epochs})
    else:
        if history is not None:
            there = {name: title for name, title in _COLUMNS.items() if name in history.epochs[-1]}
            cells = [[f"{epoch[name]:.4g}" if name in epoch else "" for name in there] for epoch in history.epochs]
            show.table(list(there.values()), cells)
        show.table(["texts", "accuracy"], [[name, f"{value:.4f}"] for name, value in found.items()])
    show.say(f"Model: {place / 'model.safetensors'}", "good")


def _accuracy(network: nn.Module, part: Sentences) -> float:
    """Fraction of the texts that get their class, of the model as it is attacked."""
    from robustlab.text import victim

    predict = victim(network).predict
    parts = [range(len(part))[start : start + 256] for start in range(0, len(part), 256)]
    right = [predict([part.texts[row] for row in rows]).argmax(axis=1) == part.labels[rows] for rows in parts]
    return float(sum(one.sum() for one in right) / len(part))
