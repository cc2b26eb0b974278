"""Confusion before and after an attack: a matrix for few classes, the most frequent confusions for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robustlab.evaluation.corruptions.record import CorruptionEvaluation
from robustlab.evaluation.explanations.record import Explanations
from robustlab.evaluation.record import AttackResult, Confusion, Evaluation

MOST_CLASSES = 12
MOST_PAIRS = 15
Counts = dict[tuple[int, int], int]


@dataclass(frozen=True)
class Cell:
    """One count and its fraction of its row, for the shade."""

    count: int
    fraction: float
    right: bool


@dataclass(frozen=True)
class Matrix:
    """Rows are true classes, columns predictions; the last column may be "not a number"."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Pair:
    """A mistake and how often it was made."""

    true: str
    predicted: str
    before: int
    after: int


@dataclass(frozen=True)
class BeforeAfter:
    """Either two matrices or a list of pairs."""

    attack: str
    eps: float
    before: Matrix | None
    after: Matrix | None
    pairs: tuple[Pair, ...]


def before_after(evaluation: Evaluation, result: AttackResult) -> BeforeAfter:
    """The confusion on clean inputs and that of one attack."""
    before, after = _counts(evaluation.clean.confusion), _counts(result.confusion)
    used = sorted({label for cell in {*before, *after} for label in cell if label >= 0})
    if max(len(used), len(evaluation.data.classes)) > MOST_CLASSES:
        return BeforeAfter(result.attack, result.eps, None, None, _pairs(evaluation, before, after))
    labels = sorted({*used, *range(len(evaluation.data.classes))})
    columns = [*labels, -1] if any(p < 0 for _, p in {*before, *after}) else labels
    first, second = (_matrix(evaluation, counts, labels, columns) for counts in (before, after))
    return BeforeAfter(result.attack, result.eps, first, second, ())


def class_name(evaluation: Evaluation | CorruptionEvaluation | Explanations, label: int) -> str:
    """A class as its data set calls it."""
    names = evaluation.data.classes
    if label < 0:
        return "not a number"
    return names[label] if label < len(names) else f"class {label}"


def _counts(confusion: Confusion) -> Counts:
    return {(true, predicted): count for true, predicted, count in confusion.cells}


def _matrix(evaluation: Evaluation, counts: Counts, labels: Sequence[int], columns: Sequence[int]) -> Matrix:
    rows = []
    for true in labels:
        row = [counts.get((true, predicted), 0) for predicted in columns]
        total = max(sum(row), 1)
        cells = tuple(Cell(n, n / total, true == predicted) for n, predicted in zip(row, columns, strict=True))
        rows.append((class_name(evaluation, true), cells))
    return Matrix(tuple(class_name(evaluation, label) for label in columns), tuple(rows))


def _pairs(evaluation: Evaluation, before: Counts, after: Counts) -> tuple[Pair, ...]:
    wrong = sorted(
        ((after.get(cell, 0), before.get(cell, 0), cell) for cell in {*before, *after} if cell[0] != cell[1]),
        key=lambda entry: (-entry[0], -entry[1], entry[2]),
    )
    return tuple(
        Pair(class_name(evaluation, true), class_name(evaluation, predicted), b, a)
        for a, b, (true, predicted) in wrong[:MOST_PAIRS]
    )
