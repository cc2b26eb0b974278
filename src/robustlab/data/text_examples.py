"""The user's own labelled texts, in any of the usual forms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.core.types import Text
from robustlab.data.columns import names_of, number, split_of
from robustlab.data.movie_sentences import Split, movie_sentences
from robustlab.data.sentences import Sentences
from robustlab.data.text_files import Table, folder_table, of_records, table_in

TextColumns: TypeAlias = tuple[str | Sequence[str], str]
"""Name of the column of the text (or names, for texts of several fields) and of that of the label."""
_PAIRS = (
    ("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("question", "sentence"),
    ("text1", "text2"), ("text_a", "text_b"),
)  # fmt: skip
_TEXTS = ("text", "sentence", "review", "content", "comment", "document", "body", "tweet", "message", "title", "x")
_LABELS = ("label", "labels", "target", "class", "category", "sentiment", "gold_label", "label_id", "stars", "y")
_PREFIXES = ("csv", "tsv", "json", "jsonl", "ndjson", "parquet")


class _Wanted(NamedTuple):
    columns: TextColumns | None
    classes: tuple[str, ...] | None
    split: str
    name: str


@typed
def text_examples(
    data: object,
    *,
    columns: TextColumns | None = None,
    classes: Sequence[str] | int | None = None,
    split: str = "test",
    name: str | None = None,
) -> Sentences:
    """Labelled texts from whatever holds them.

    Args:
        data: "movie-sentences"; the path of a CSV, TSV, JSON, JSON lines or parquet file ("csv:PATH" works too); of a
            folder with a folder of ``.txt`` files per class ("folder:PATH"); a pair (texts, labels); a list of
            (text, label) or of dictionaries; a dictionary of columns; a pandas data frame; a Hugging Face data set.
        columns: names of the text (or of several fields) and of the label, where they are not the usual ones.
        classes: names in the order of their numbers, or their number; None: those of the data set, else the labels that
            occur, words by alphabet.
        split: of data that have splits.
        name: in reports.

    Returns: texts with ids 0, 1, ... in the order of the data (movie sentences: their line numbers).
    Raises: DataError if it holds no labelled texts, in one sentence.

    Example:
        >>> found = text_examples((["good", "bad"], ["yes", "no"]))
        >>> found.classes, found.labels.tolist()
        (('no', 'yes'), [1, 0])
    """
    names = tuple(map(str, range(classes) if isinstance(classes, int) else classes or ()))
    wanted = _Wanted(columns, names or None, split, name or "texts")
    try:
        if isinstance(data, str | Path):
            return _at(str(data), wanted._replace(name=name or ""))
        return _of_value(data, wanted)
    except ValueError as error:
        raise DataError(str(error)) from error


def _at(place: str, wanted: _Wanted) -> Sentences:
    """Texts at a place, or by their name."""
    if place == "movie-sentences":
        return movie_sentences(cast(Split, wanted.split))
    prefix, colon, rest = place.partition(":")
    path = Path(rest if colon and prefix in {"folder", *_PREFIXES} else place).expanduser()
    wanted = wanted._replace(name=wanted.name or path.name)
    if prefix == "folder" or path.is_dir():
        return _of_table(folder_table(path, wanted.split, wanted.classes), wanted)
    return _of_table(table_in(path), wanted)


def _of_value(data: Any, wanted: _Wanted) -> Sentences:  # noqa: ANN401 -- the user's own
    """Texts of an object in memory."""
    if isinstance(data, Sentences):
        return data
    if isinstance(data, tuple) and len(data) == 2:
        return _of_lists(*data, wanted)
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _of_table({str(one): data[one].tolist() for one in data.columns}, wanted)
    if hasattr(data, "column_names") and not isinstance(data, Mapping):
        return _of_table({one: list(data[one]) for one in data.column_names}, _known(data, wanted))
    if isinstance(data, Mapping):
        part = split_of({wanted.split: data[wanted.split]} if wanted.split in data else data)
        return _of_value(part[1], wanted) if part else _of_table({str(k): list(v) for k, v in data.items()}, wanted)
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__") or isinstance(data, bytes):
        raise ValueError(f"a {type(data).__name__} holds no labelled texts: give (texts, labels), or see text_examples")
    rows = [data[k] for k in range(len(data))]
    if rows and isinstance(rows[0], Mapping):
        return _of_table(of_records(rows, "record"), wanted)
    if any(not isinstance(row, tuple | list) or len(row) != 2 for row in rows):
        raise ValueError("the texts have no labels: give (texts, labels), or a list of (text, label)")
    return _of_lists([row[0] for row in rows], [row[1] for row in rows], wanted)


def _known(data: Any, wanted: _Wanted) -> _Wanted:  # noqa: ANN401 -- a data set of Hugging Face
    """With the names of the classes that a data set knows."""
    features = getattr(data, "features", None)
    if wanted.classes or not isinstance(features, Mapping):
        return wanted
    _, label = _columns(list(data.column_names), wanted)
    return wanted._replace(classes=tuple(getattr(features.get(label), "names", None) or ()) or None)


def _columns(names: Sequence[str], wanted: _Wanted) -> tuple[tuple[str, ...], str]:
    """Names of the columns of the text's fields and of the label."""
    if wanted.columns is not None:
        text, label = wanted.columns
        fields = (text,) if isinstance(text, str) else tuple(text)
        missing = [one for one in (*fields, label) if one not in names]
        if missing:
            raise ValueError(f"{wanted.name} has no column {missing[0]!r}: it has {', '.join(names)}")
        return fields, label
    by_case = {name.lower(): name for name in reversed(names)}
    pair = next((pair for pair in _PAIRS if set(pair) <= by_case.keys()), None)
    fields = pair or tuple(one for one in _TEXTS if one in by_case)[:1]
    labels = [one for one in _LABELS if one in by_case and one not in fields]
    if not fields or not labels:
        raise ValueError(
            f"{wanted.name} has the columns {', '.join(names) or 'none'}: name those of text and label, as in "
            "columns=('text', 'label')"
        )
    return tuple(by_case[one] for one in fields), by_case[labels[0]]


def _of_table(table: Table, wanted: _Wanted) -> Sentences:
    fields, label = _columns(list(table), wanted)
    parts = [table[one] for one in fields]
    texts: Sequence[object] = parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))
    return _of_lists(texts, table[label], wanted)


def _of_lists(texts: Any, labels: Any, wanted: _Wanted) -> Sentences:  # noqa: ANN401 -- the user's own
    """Texts and labels as given, checked and numbered."""
    plain = [tuple(text) if isinstance(text, list) else text for text in _listed(texts, "texts")]
    values = _labels(_listed(labels, "labels"), wanted.classes or ())
    if len(plain) != len(values):
        raise ValueError(f"{len(plain)} texts and {len(values)} labels: give one label per text")
    if not plain:
        raise ValueError(f"{wanted.name} has no examples")
    classes = wanted.classes or names_of(values)
    numbers = {name: k for k, name in enumerate(classes)}
    found = np.array([number(value, numbers) for value in values], dtype=np.int64)
    return Sentences(cast("tuple[Text, ...]", tuple(plain)), found, np.arange(len(plain)), classes, wanted.name)


def _listed(values: Any, what: str) -> list[object]:  # noqa: ANN401 -- the user's own
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise ValueError(f"the {what} are a {type(values).__name__}: give a list of them")
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _labels(labels: Sequence[object], classes: Sequence[str]) -> list[str | int]:
    """Labels as words or whole numbers; words are numbers where all are digits and none is the name of a class."""
    found = [_label(label, row) for row, label in enumerate(labels)]
    words = [label for label in found if isinstance(label, str)]
    if words and all(word.isascii() and word.isdigit() for word in words) and not set(words) <= set(classes):
        return [int(label) for label in found]
    return found


def _label(label: object, row: int) -> str | int:
    if label is None or (isinstance(label, float) and math.isnan(label)) or label == "":
        raise ValueError(f"example {row} has no label: leave it out, or label it")
    if isinstance(label, str):
        return label.strip()
    if isinstance(label, bool | float) and label == int(label):
        return int(label)
    return number(label)
