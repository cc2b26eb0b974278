"""Measured accuracies of an evaluation of any kind, for files that other tools read."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from robustlab.evaluation.record import Evaluation
from robustlab.evaluation.text.record import TextEvaluation
from robustlab.report.words import budget
from robustlab.statistics.intervals import Interval

Measured: TypeAlias = Evaluation | TextEvaluation
"""An evaluation under attack, on inputs or on texts."""


class Line(NamedTuple):
    """One accuracy under attack."""

    name: str
    where: str
    """Phrase to follow an accuracy, such as "at eps 0.1"."""
    fraction: Interval
    seconds: float


def lines_of(e: Measured) -> list[Line]:
    """Accuracies under attack; the last is the one that a gate judges."""
    if isinstance(e, TextEvaluation):
        found = [
            Line(f"accuracy under {r.recipe}", f"under {r.recipe}", r.accuracy, r.costs.seconds) for r in e.results
        ]
        return [*found, Line("accuracy under all recipes", "under all recipes", e.worst, 0.0)]
    return [
        Line(
            f"robust accuracy, {e.threat.norm} eps {budget(w.eps)}",
            f"at eps {budget(w.eps)}",
            w.robust,
            sum(r.seconds for r in e.results if r.eps == w.eps),
        )
        for w in e.worst
    ]
