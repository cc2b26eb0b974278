"""Successful attacks as a sheet for annotators, and the summary of a sheet that they filled in."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from robustlab.core import DataError, RunError, fold_in
from robustlab.core.kinds import typed
from robustlab.core.types import Text
from robustlab.evaluation.plan import chosen
from robustlab.evaluation.text.manifest import read_text_manifest
from robustlab.evaluation.text.outcomes import RecordedText, text_outcomes_of
from robustlab.runs.files import write_atomically
from robustlab.statistics.intervals import Interval, clopper_pearson

FILLED = ("class_a", "class_b", "same_meaning", "readable_a", "readable_b")
"""Columns that annotators fill in: a class each, and yes or no."""
HEAD = ("item", "text_a", "text_b", *FILLED)
_YES, _NO = frozenset({"yes", "y", "1", "true", "ja"}), frozenset({"no", "n", "0", "false", "nein"})


class Item(NamedTuple):
    """One success as annotators see it: both texts, in an order that does not say which is the original."""

    name: str
    """Recipe and number of the text, as "textfooler/12"."""
    texts: tuple[Text, Text]
    adversarial: int
    """Place of the adversarial text, 0 or 1; not in the sheet."""
    outcome: RecordedText


@dataclass(frozen=True)
class Judged:
    """Judgements of the successes of one recipe."""

    recipe: str
    same_meaning: Interval
    """Pairs with the same meaning in the eyes of annotators."""
    same_class: Interval
    """Adversarial texts that annotators put into the true class: only these are faults of the model."""
    readable: Interval
    """Adversarial texts that are readable."""
    readable_originals: Interval
    agreed: Interval
    """Originals that annotators put into the class of the data set."""


def items(directory: Path, count: int, seed: int) -> Iterator[Item]:
    """A simple random sample of the successes of each recipe, in an order of its own."""
    manifest = read_text_manifest(directory)
    won = [one for one in text_outcomes_of(directory) if one.status == "successful"]
    for number, info in enumerate(manifest.recipes):
        mine = {one.id: one for one in won if one.recipe == info.name}
        ids = chosen(torch.tensor(sorted(mine), dtype=torch.int64), count, "gallery", seed).tolist()
        for i in ids:
            place = random.Random(fold_in(seed, number, i)).randrange(2)
            pair = (mine[i].adversarial, mine[i].original)
            yield Item(f"{info.name}/{i}", pair if place == 0 else (pair[1], pair[0]), place, mine[i])


@typed
def write_judgements(directory: str | Path, path: str | Path, *, n: int = 100, seed: int = 0) -> int:
    """Writes a CSV sheet for annotators; the order of rows and of the two texts of a row is random.

    Args:
        directory: of a finished run.
        path: of the sheet.
        n: successes of each recipe, at most; a simple random sample.
        seed: of the sample and of the order; ``read_judgements`` needs the same.

    Returns: the number of rows.
    Raises: RunError if the run has no successes, or the sheet cannot be written.
    """
    from io import StringIO

    rows = sorted(items(Path(directory), n, seed), key=lambda one: fold_in(seed, one.outcome.id, len(one.name)))
    if not rows:
        raise RunError(f"the run in {directory} has no successful attack, so there is nothing to judge")
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows([one.name, *map(_cell, one.texts), *([""] * len(FILLED))] for one in rows)
    try:
        write_atomically(Path(path), buffer.getvalue().encode("utf-8", "backslashreplace").decode())
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; name another file") from error
    return len(rows)


def _cell(text: Text) -> str:
    """A text as a cell that no spreadsheet takes for a formula; its fields one below the other."""
    joined = text if isinstance(text, str) else "\n".join(text)
    return f"'{joined}" if joined[:1] in {"=", "+", "-", "@", "\t", "\r"} else joined


@typed
def read_judgements(directory: str | Path, path: str | Path, *, n: int = 100, seed: int = 0) -> tuple[Judged, ...]:
    """Summarises a sheet that annotators filled in; cells that they left empty do not count.

    Args:
        directory: of the run that the sheet was written for.
        path: of the sheet.
        n: as it was written with.
        seed: as it was written with.

    Returns: one for each recipe with judgements.
    Raises: DataError if the sheet is not of this run, or holds something else than classes, yes and no.
    """
    classes = read_text_manifest(Path(directory)).data.classes
    known = {one.name: one for one in items(Path(directory), n, seed)}
    rows = _rows(Path(path))
    strange = next((name for name in rows if name not in known), None)
    if strange is not None:
        raise DataError(f"{path} has the item {strange!r}, which the run does not have: give its n and seed")
    judged = [(known[name], row) for name, row in rows.items()]
    return tuple(
        _judged(recipe, [one for one in judged if one[0].outcome.recipe == recipe], classes)
        for recipe in dict.fromkeys(item.outcome.recipe for item, _ in judged)
    )


def _rows(path: Path) -> dict[str, dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in ("item", *FILLED) if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} has no column {missing[0]!r}: give the sheet that was written")
            return {row["item"]: row for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV file of UTF-8 text: {error}") from error


def _judged(recipe: str, rows: Sequence[tuple[Item, dict[str, str]]], classes: Sequence[str]) -> Judged:
    def side(item: Item, column: str, *, adversarial: bool) -> str:
        return f"{column}_{'ab'[item.adversarial if adversarial else 1 - item.adversarial]}"

    def readable(*, adversarial: bool) -> Interval:
        return _fraction([_flag(item, row, side(item, "readable", adversarial=adversarial)) for item, row in rows])

    def right(*, adversarial: bool) -> Interval:
        return _fraction([
            _class(item, row, side(item, "class", adversarial=adversarial), classes) for item, row in rows
        ])  # fmt: skip

    return Judged(
        recipe,
        _fraction([_flag(item, row, "same_meaning") for item, row in rows]),
        right(adversarial=True),
        readable(adversarial=True),
        readable(adversarial=False),
        right(adversarial=False),
    )


def _fraction(found: Sequence[bool | None]) -> Interval:
    known = [one for one in found if one is not None]
    return clopper_pearson(sum(known), len(known))


def _flag(item: Item, row: dict[str, str], column: str) -> bool | None:
    word = row[column].strip().lower()
    if word and word not in _YES | _NO:
        raise DataError(f"{item.name} has {row[column]!r} in {column}: write yes or no, or leave it empty")
    return word in _YES if word else None


def _class(item: Item, row: dict[str, str], column: str, classes: Sequence[str]) -> bool | None:
    word = row[column].strip()
    numbers = {name.lower(): number for number, name in enumerate(classes)}
    if not word:
        return None
    if word.lower() not in numbers and not word.isdecimal():
        raise DataError(f"{item.name} has {word!r} in {column}: write a class ({', '.join(classes) or 'its number'})")
    return numbers.get(word.lower(), int(word) if word.isdecimal() else -1) == item.outcome.label
