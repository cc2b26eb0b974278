"""Examples fooled by each stage of an attack: rows of a table, each with its place on a bar of all examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from robustlab.attacks.registry import help_of
from robustlab.evaluation.record import AttackResult, Evaluation


@dataclass(frozen=True)
class StageRow:
    """One stage; the first rows count the examples that were never attacked."""

    name: str
    attacked: int
    fooled: int
    still_robust: int
    passes: float | None
    """Forward and backward, per attacked example; None: no attack."""
    seconds: float | None
    n: int

    @property
    def meant(self) -> str:
        """Work of a stage that has the name of an attack, in a few words; empty for others."""
        return help_of(self.name.partition(",")[0])

    @property
    def still_robust_percent(self) -> float:
        """Examples that are still robust after the stage, in per cent of all examples."""
        return round(100 * self.still_robust / self.n, 3)

    @property
    def fooled_percent(self) -> float:
        """Examples that the stage fooled, in per cent of all examples."""
        return round(100 * self.fooled / self.n, 3)


@dataclass(frozen=True)
class StageTable:
    """The stages of one attack."""

    attack: str
    rows: tuple[StageRow, ...]


def stage_tables(evaluation: Evaluation, eps: float | None) -> tuple[StageTable, ...]:
    """A table for each attack of several stages at an eps."""
    results = (r for r in evaluation.results if r.eps == eps and r.stages)
    return tuple(StageTable(r.attack, tuple(_rows(evaluation, r))) for r in results)


def _rows(evaluation: Evaluation, result: AttackResult) -> Iterator[StageRow]:
    n, correct = evaluation.clean.accuracy.n, evaluation.clean.accuracy.count
    yield StageRow("wrong without any attack", n, n - correct, correct, None, None, n)
    if result.reused:
        yield StageRow("fooled at a smaller eps", correct, result.reused, correct - result.reused, None, None, n)
    for s in result.stages:
        passes = s.queries.forward + s.queries.backward
        yield StageRow(s.stage, s.attacked, s.fooled, s.still_robust, passes, s.seconds, n)
