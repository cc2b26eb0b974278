"""Options of ``robustlab text`` and their values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import options as o

if TYPE_CHECKING:
    from robustlab.evaluation import TextData
    from robustlab.text import TextRecipe, Victim

Model = Annotated[
    str,
    typer.Argument(
        help="package.module:name of a function from a list of texts to scores, or of one without arguments that "
        "returns a classifier; a checkpoint of robustlab text train; or a folder of Hugging Face with a sequence "
        "classifier.",
        show_default=False,
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data", help="movie-sentences, or csv:PATH with a text and a label in each row.", rich_help_panel=o.INPUT
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option(
        "--text-column",
        help="Column of the texts in a CSV file, several by commas for texts with fields; default: text, sentence, "
        "review or content.",
        rich_help_panel=o.INPUT,
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        help="Column of the labels in a CSV file; default: label, class, target or y.",
        rich_help_panel=o.INPUT,
    ),
]
Recipes = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        help="Attack by name, with its substitutes (textfooler+glove,minilm); can be repeated.",
        rich_help_panel=o.INPUT,
    ),
]
Queries = Annotated[
    int | None,
    typer.Option(
        "--queries", min=1, help="Queries for each text at most; default: any number.", rich_help_panel=o.INPUT
    ),
]
Field = Annotated[
    int, typer.Option("--field", min=0, help="Number of the field that is attacked.", rich_help_panel=o.INPUT)
]
Target = Annotated[
    int | None,
    typer.Option("--target", min=0, help="Class to reach, for a targeted recipe.", rich_help_panel=o.INPUT),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Texts attacked together.", rich_help_panel=o.EXECUTION)
]
FailUnder = Annotated[float | None, o.fail_under("accuracy under all recipes", 0.3)]
SPLITS = ("train", "validation", "test", "all")


@dataclass(frozen=True)
class Texts:
    """Labelled texts, as typed."""

    data: Data = "movie-sentences"
    split: o.Split = "test"
    text_column: TextColumn = None
    label_column: LabelColumn = None


@dataclass(frozen=True)
class Attacking:
    """Recipes and their limits, as typed."""

    recipe: Recipes = None
    queries: Queries = None
    field: Field = 0
    target: Target = None


def texts(typed: Texts) -> TextData:
    """Labelled texts by name."""
    from robustlab.evaluation.text.given import as_text_data, read_csv

    kind, _, path = typed.data.partition(":")
    if kind == "csv" and path:
        return read_csv(path, text=typed.text_column, label=typed.label_column)
    if typed.data != "movie-sentences":
        raise typer.BadParameter(f"there are no texts {typed.data!r}: write movie-sentences, or csv:PATH")
    if typed.split not in SPLITS:
        raise typer.BadParameter(f"there is no split {typed.split!r}: choose {', '.join(SPLITS)}")
    from robustlab.data import movie_sentences

    return as_text_data(movie_sentences(typed.split))  # type: ignore[arg-type]  # checked above


def recipes(typed: Sequence[str] | None) -> list[TextRecipe | str]:
    """Recipes by name."""
    names = [name.strip() for name in typed or () if name.strip()]
    if not names:
        raise typer.BadParameter("no recipe was given: write --recipe textfooler+glove,minilm, or several")
    return list(names)


def victim(name: str, device: str, *, fields: int = 1) -> Victim:
    """A classifier by Python path, checkpoint or folder."""
    from robustlab.text.victims import victim as as_victim

    place = None if device == "auto" else device
    if Path(name).is_dir() and (Path(name) / "config.json").is_file():
        model, tokenizer = _hugging_face(Path(name))
        return as_victim(model, tokenizer=tokenizer, name=Path(name).name, device=place, fields=fields)
    if Path(name).exists():
        from robustlab.cli.parse import weights
        from robustlab.models import load

        file = weights(Path(name)) if Path(name).is_dir() else Path(name)
        return as_victim(load(file), name=Path(name).stem, device=place, fields=fields)
    return as_victim(_by_path(name), name=name, device=place, fields=fields)


def _hugging_face(folder: Path) -> tuple[object, object]:
    """Model and tokenizer of a folder; nothing is downloaded, and no code of the folder is run."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _by_path(name: str) -> object:
    """An object by "package.module:name"; a function without arguments is called."""
    from robustlab.core.user_code import called
    from robustlab.models.load import object_at

    if not all(name.partition(":")):
        raise typer.BadParameter(
            f"{name!r} is no file, folder or Python path: write package.module:name, or the path of a checkpoint"
        )
    found = object_at(name)
    if not inspect.isroutine(found) or not _needs_nothing(found):
        return found
    with called(f"{name}()", advice="give a function that returns the classifier and needs no arguments"):
        made: object = found()
    return made


def _needs_nothing(function: Callable[..., object]) -> bool:
    empty = inspect.Parameter.empty
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return all(one.default is not empty or one.kind in kinds for one in parameters)
