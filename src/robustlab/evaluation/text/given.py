"""Labelled texts in any form that an evaluation takes."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from robustlab.core.errors import DataError
from robustlab.core.kinds import seen, typed
from robustlab.core.types import Text
from robustlab.runs.files import digest
from robustlab.runs.json_files import parsed

_TEXT_COLUMNS, _LABEL_COLUMNS = ("text", "sentence", "review", "content"), ("label", "class", "target", "y")


@typed
@dataclass(frozen=True)
class TextData:
    """Labelled texts.

    Args:
        texts: N texts, or tuples of fields.
        labels: the true classes (N,).
        name: in reports.
        classes: names of the classes; (): unknown.
        split: of the data set; "": it has none.
    """

    texts: Sequence[Text]
    labels: Sequence[int]
    name: str = "texts"
    classes: tuple[str, ...] = ()
    split: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.texts, str) or len(self.texts) != len(self.labels):
            raise ValueError(
                f"there must be one label for each text, got {len(self.labels)} for {seen(self.texts)}"
                if isinstance(self.texts, str)
                else f"there must be one label for each text, got {len(self.labels)} for {len(self.texts)} texts"
            )

    def __len__(self) -> int:
        return len(self.texts)


@runtime_checkable
class Labelled(Protocol):
    """A data set of texts, such as ``data.movie_sentences``."""

    @property
    def texts(self) -> Sequence[Text]:
        """The texts (N,)."""

    @property
    def labels(self) -> Sequence[int]:
        """The true classes (N,)."""


def as_text_data(given: object) -> TextData:
    """Labelled texts, checked.

    Raises: ValueError for what is no text or no whole number, with its place.
    """
    if isinstance(given, TextData):
        found = given
    elif isinstance(given, tuple) and len(given) == 2 and not hasattr(given, "texts"):
        found = TextData(given[0], _plain(given[1]))
    elif isinstance(given, Labelled):
        names, name, split = (getattr(given, one, "") for one in ("classes", "name", "split"))
        found = TextData(
            given.texts,
            _plain(given.labels),
            str(name or type(given).__name__.lower()),
            tuple(map(str, names or ())),
            split if isinstance(split, str) else "",
        )
    else:
        raise ValueError(f"data must be (texts, labels) or have texts and labels, got {seen(given)}")
    for place, (text, label) in enumerate(zip(found.texts, found.labels, strict=True)):
        fields = (text,) if isinstance(text, str) else text
        if not isinstance(fields, tuple) or not fields or not all(isinstance(one, str) for one in fields):
            raise ValueError(f"text {place} is {seen(text)}: give a str, or a tuple of them for texts with fields")
        if isinstance(label, bool) or not hasattr(label, "__index__"):
            raise ValueError(f"label {place} is {seen(label)}: give the number of the class, from 0")
    return found


def _plain(labels: object) -> Sequence[int]:
    """Labels of an array or tensor as plain numbers."""
    listed = getattr(labels, "tolist", None)
    found = listed() if callable(listed) else labels
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise ValueError(f"labels must be one whole number for each text, got {seen(labels)}")
    return found


def aligned(data: TextData, labels: Sequence[str]) -> TextData:
    """Labelled texts whose labels are numbered as the victim's classes, where both have names.

    Args:
        data: labelled texts.
        labels: names of the victim's classes; (): unknown.

    Returns: the same data if a name is unknown to the victim.
    """
    places = {name: place for place, name in enumerate(plain_names(labels))}
    names = plain_names(data.classes)
    if not names or not set(names) <= set(places) or [places[name] for name in names] == [*range(len(labels))]:
        return data
    numbers = [places[names[int(label)]] if 0 <= label < len(names) else int(label) for label in data.labels]
    return replace(data, labels=numbers, classes=tuple(labels))


def plain_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Names of classes in small letters; () for mere numbers, such as "LABEL_0".

    >>> plain_names(["Negative ", "positive"]), plain_names(["LABEL_0", "LABEL_1"]), plain_names(["0", "1"])
    (('negative', 'positive'), (), ())
    """
    found = tuple(name.strip().lower() for name in labels)
    return () if all(re.fullmatch(r"(label[_ ]?)?\d+", name) for name in found) else found


def text_json(text: Text) -> str:
    """A text as JSON, all characters escaped that are not ASCII, so that none is lost on the way."""
    return json.dumps(text)


def text_from(recorded: str) -> Text:
    """A text from its JSON, lone halves of characters included.

    Raises: ValueError if it is none.
    """
    found = parsed(recorded, halves=True)
    if isinstance(found, list):
        return tuple(str(one) for one in found)
    if not isinstance(found, str):
        raise ValueError(f"{recorded[:40]!r} is no text")
    return found


def edits_from(recorded: str) -> tuple[tuple[int, str], ...]:
    """Edits of an attack from their JSON.

    Raises: ValueError if it holds none.
    """
    found = parsed(recorded, halves=True)
    if not isinstance(found, list) or not all(isinstance(one, list) and len(one) == 2 for one in found):
        raise ValueError(f"{recorded[:40]!r} holds no edits")
    return tuple((int(at), str(new)) for at, new in found)


def text_digest(text: Text, label: int) -> bytes:
    """The digest of a text and its label, 24 bytes."""
    return digest(text_json(text).encode()) + int(label).to_bytes(8, "little", signed=True)


@typed
def read_csv(path: str | Path, *, text: str | None = None, label: str | None = None) -> TextData:
    """Labelled texts from a CSV file with a head line.

    Args:
        path: of the file, UTF-8.
        text: column of the texts, or several by commas for texts with fields; None: "text", "sentence", "review" or
            "content".
        label: column of the labels; None: "label", "class", "target" or "y". Labels are whole numbers from 0, or names,
            which are numbered by the alphabet.

    Raises: DataError if the file cannot be read, or lacks a column or a cell.
    """
    place = Path(path)
    try:
        with place.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="…", strict=True)
            head, rows = [*(reader.fieldnames or ())], [*reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{place} cannot be read as a CSV file of UTF-8 text: {error}") from error
    columns = text.split(",") if text else [_column(place, head, _TEXT_COLUMNS, "--text-column")]
    labels = label or _column(place, head, _LABEL_COLUMNS, "--label-column")
    for name in (*columns, labels):
        if name not in head:
            raise DataError(f"{place} has no column {name!r}: it has {', '.join(head) or 'none'}")
    texts = [tuple(_cell(place, number, row, name) for name in columns) for number, row in enumerate(rows, 2)]
    numbers, names = _numbered([_cell(place, number, row, labels).strip() for number, row in enumerate(rows, 2)])
    return TextData([one[0] if len(one) == 1 else one for one in texts], numbers, place.stem, names)


def _column(path: Path, head: Sequence[str], usual: Sequence[str], option: str) -> str:
    found = next((name for name in head if name.lower() in usual), None)
    if found is None:
        raise DataError(f"{path} has none of the columns {', '.join(usual)}: name one of {', '.join(head)} by {option}")
    return found


def _cell(path: Path, line: int, row: dict[str, str | None], name: str) -> str:
    value = row.get(name)
    if value is None or "…" in row:
        raise DataError(f"{path}, row {line}, has another number of cells than the head line")
    return value


def _numbered(labels: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """Labels as numbers, and the names of the classes if they are no numbers."""
    if all(one.isascii() and one.isdigit() for one in labels):
        return [int(one) for one in labels], ()
    names = sorted(set(labels))
    places = {name: place for place, name in enumerate(names)}
    return [places[one] for one in labels], tuple(names)
