"""Paired comparison of two models on the same corrupted images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from robustlab.core import RunError
from robustlab.core.kinds import typed
from robustlab.evaluation.corruptions.answers import CLEAN, AllAnswers, read_answers
from robustlab.evaluation.corruptions.corrupted_set import Cell
from robustlab.evaluation.corruptions.manifest import read_corruption_manifest
from robustlab.evaluation.corruptions.record import CorruptionEvaluation
from robustlab.evaluation.read import read_corruptions
from robustlab.runs.codec import encode
from robustlab.statistics.estimate import Estimate, mean_interval
from robustlab.statistics.paired import holm, mcnemar, paired_difference


@dataclass(frozen=True)
class CellPair:
    """Two models on the images of one cell; ``difference`` is b minus a, with Tango's score interval."""

    corruption: str
    """Or "clean", at severity 0."""
    severity: int
    n: int
    only_a: int
    only_b: int
    difference: float
    low: float
    high: float
    p_value: float
    """Exact McNemar test of "both models are equally often correct", two-sided."""
    corrected: float
    """The same, corrected for all cells that are tested (Holm)."""


@dataclass(frozen=True)
class CorruptionPair:
    """Two models under one corruption: by how much accuracy differs, averaged over severities; paired by image."""

    corruption: str
    difference: Estimate


@dataclass(frozen=True)
class CorruptionComparison:
    """Two models on the same corrupted images, paired; every difference is b minus a."""

    a: str
    b: str
    n: int
    mean: Estimate
    """Difference of accuracy, averaged over those corruptions and severities that the mean error is over."""
    corruptions: tuple[CorruptionPair, ...]
    cells: tuple[CellPair, ...]
    """The clean images first, if both saw them."""
    level: float = 0.95

    def to_json(self) -> dict[str, object]:
        """Plain dict."""
        return encode(self)

    def cell(self, corruption: str, severity: int) -> CellPair | None:
        """The pair at one corruption and severity, if both have it."""
        return next((c for c in self.cells if (c.corruption, c.severity) == (corruption, severity)), None)


@typed
def compare_corruptions(
    a: CorruptionEvaluation | str | Path, b: CorruptionEvaluation | str | Path
) -> CorruptionComparison:
    """Compares two evaluations of the same corrupted images, image by image.

    Args:
        a: an evaluation or its run directory.
        b: the other one.

    Returns: all corruptions and severities that both have.

    Raises:
        ValueError: other examples or other corruptions, or none in common.
        RunError: the answers of one are missing.
    """
    first, second = (run if isinstance(run, CorruptionEvaluation) else read_corruptions(run) for run in (a, b))
    cells = _common(first, second)
    one, two = answers_of(first), answers_of(second)
    level = first.errors.mean_error.level
    over = [cell for cell in cells if cell[0] in first.errors.over] or cells
    known = [CLEAN] if first.clean is not None and second.clean is not None else []
    names = dict.fromkeys(name for name, _ in cells)
    return CorruptionComparison(
        a=first.model.name,
        b=second.model.name,
        n=first.data.n,
        mean=_mean(one, two, over, level),
        corruptions=tuple(
            CorruptionPair(name, _mean(one, two, [c for c in cells if c[0] == name], level)) for name in names
        ),
        cells=_corrected([_pair(one, two, cell, level) for cell in [*known, *cells]]),
        level=level,
    )


def answers_of(evaluation: CorruptionEvaluation) -> AllAnswers:
    """Answers of the model to each example in each cell.

    Raises: RunError if the evaluation has no run directory, or its answers are missing or those of another run.
    """
    if evaluation.directory is None:
        raise RunError(f"the evaluation of {evaluation.model.name} has no run directory: give the directory itself")
    cells = [(cell.corruption, cell.severity) for cell in evaluation.cells]
    known = [CLEAN, *cells] if evaluation.clean is not None else cells
    sealed = read_corruption_manifest(evaluation.directory).sealed
    return read_answers(evaluation.directory, known, evaluation.run.id, signed=sealed is not None)


def same_images(a: CorruptionEvaluation, b: CorruptionEvaluation) -> bool:
    """Tests that two evaluations used the same images, corrupted by the same draws."""
    return (a.data.sha256, a.variant, a.run.seed) == (b.data.sha256, b.variant, b.run.seed)


def _common(a: CorruptionEvaluation, b: CorruptionEvaluation) -> list[Cell]:
    if not same_images(a, b):
        raise ValueError(
            f"the images differ, {a.data.n} of {a.data.name} ({a.data.drawn}; {a.variant}, seed {a.run.seed}) and "
            f"{b.data.n} of {b.data.name} ({b.data.drawn}; {b.variant}, seed {b.run.seed}): evaluate both models with "
            "the same data, n, variant and seed"
        )
    same = {(info.name, info.repr) for info in a.corruptions} & {(info.name, info.repr) for info in b.corruptions}
    names = {name for name, _ in same}
    theirs = {(cell.corruption, cell.severity) for cell in b.cells}
    mine = [(cell.corruption, cell.severity) for cell in a.cells]
    found = [cell for cell in mine if cell[0] in names and cell in theirs]
    if not found:
        raise ValueError(f"{a.model.name} and {b.model.name} were evaluated under no common corruption and severity")
    return found


def _mean(a: AllAnswers, b: AllAnswers, cells: Sequence[Cell], level: float) -> Estimate:
    """The difference of accuracy averaged over cells; its interval is that of a mean over images."""
    each = torch.stack([b.right(cell).double() - a.right(cell).double() for cell in cells]).mean(dim=0)
    n = len(each)
    return mean_interval(float(each.mean()), float(each.var(correction=0)) / n, n, 1.0, level=level)


def _pair(a: AllAnswers, b: AllAnswers, cell: Cell, level: float) -> CellPair:
    one, two = a.right(cell), b.right(cell)
    only_a, only_b = _count(one & ~two), _count(two & ~one)
    difference, low, high = paired_difference(only_a, only_b, len(one), level)
    p = mcnemar(only_a, only_b)
    return CellPair(*cell, len(one), only_a, only_b, difference, low, high, p, p)


def _count(mask: Tensor) -> int:
    return int(mask.sum())


def _corrected(pairs: Sequence[CellPair]) -> tuple[CellPair, ...]:
    """With p-values corrected for being several."""
    found = holm([pair.p_value for pair in pairs])
    return tuple(replace(pair, corrected=p) for pair, p in zip(pairs, found, strict=True))
