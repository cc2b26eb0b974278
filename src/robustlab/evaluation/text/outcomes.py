"""Finished runs on texts, read from their directories: the result, and the outcome of every text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from robustlab.core.kinds import typed
from robustlab.core.types import Text
from robustlab.evaluation.manifest import TEXTS_MEASURED
from robustlab.evaluation.queries import Row
from robustlab.evaluation.result_queries import text_rows
from robustlab.evaluation.sealed import check_rows, result_of
from robustlab.evaluation.store import reading
from robustlab.evaluation.text.given import edits_from, text_from
from robustlab.evaluation.text.manifest import read_text_manifest
from robustlab.evaluation.text.record import Status, TextEvaluation
from robustlab.runs.json_files import read_json


class RecordedText(NamedTuple):
    """One text under one recipe, as a run recorded it."""

    recipe: str
    id: int
    """Number in the data set."""
    status: Status
    label: int
    target: int | None
    before: int
    """Class of the clean text."""
    prediction: int
    """Class of the adversarial text."""
    confidence: float
    score: float
    requested: int
    sent: int
    changed: int
    """Words."""
    words: int
    original: Text
    adversarial: Text
    edits: tuple[tuple[int, str], ...]
    """Position in the original and new word of each edit."""
    turned: bool | None
    """True if an opinion word's sign is turned; None: not measured, or no success."""
    similarity: float
    """Similarity of the sentences; NaN: not measured, or no success."""


@typed
def is_text_run(directory: str | Path) -> bool:
    """Tests whether a directory holds a run of attacks on texts."""
    path = Path(directory) / "manifest.json"
    return path.is_file() and read_json(path).get("measures") == TEXTS_MEASURED


@typed
def read_texts(directory: str | Path) -> TextEvaluation:
    """The result of a finished run of attacks on texts.

    Raises: RunError if there is no run, it is not finished, or its record is damaged, changed or of another run.
    """
    path = Path(directory)
    return result_of(path, read_text_manifest(path), TextEvaluation.from_json)


@typed
def text_outcomes_of(directory: str | Path) -> Iterator[RecordedText]:
    """Reads the outcomes of a run of attacks on texts.

    Args:
        directory: of the run.

    Yields: a row per recipe and text: by recipe, then by id.
    Raises: RunError if the directory holds no such run, or its outcomes are missing or were changed.
    """
    home = Path(directory)
    manifest = read_text_manifest(home)
    with reading(home) as reader:
        check_rows(home, reader, manifest)
        for number, info in enumerate(manifest.recipes):
            for row in text_rows(reader, number):
                yield _recorded(info.name, row)


def _recorded(recipe: str, row: Row) -> RecordedText:
    """An outcome from its row."""
    *plain, original, adversarial, edits, turned, similarity = row
    known = None if turned is None else bool(turned), math.nan if similarity is None else similarity
    return RecordedText._make((recipe, *plain, text_from(original), text_from(adversarial), edits_from(edits), *known))
