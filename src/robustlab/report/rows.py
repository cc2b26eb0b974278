"""Outcomes of every example as a CSV file, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from robustlab.evaluation.outcomes import Outcome, outcomes_of
from robustlab.evaluation.record import Evaluation
from robustlab.evaluation.text.record import TextEvaluation
from robustlab.report.plain import csv_text

FILE = "outcomes.csv"
COLUMNS = ("model", *Outcome._fields)


def has_rows(evaluations: Sequence[Evaluation | TextEvaluation]) -> bool:
    """Returns True if every evaluation still has its outcomes."""
    return all(e.directory is not None and (e.directory / "outcomes.sqlite").is_file() for e in evaluations)


def write_rows(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Writes a line per model, example, attack and eps; an unknown number is an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for evaluation in evaluations:
            writer.writerows(_lines(evaluation))


def _lines(evaluation: Evaluation) -> Iterator[list[object]]:
    if evaluation.directory is None:
        return
    model = csv_text(evaluation.model.name)
    for outcome in outcomes_of(evaluation.directory):
        yield [model, *map(_cell, outcome)]


def _cell(value: object) -> object:
    if isinstance(value, str):
        return csv_text(value)
    unknown = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if unknown else value
