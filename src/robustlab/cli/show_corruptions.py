"""Runs under corruptions on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from robustlab.cli import show

if TYPE_CHECKING:
    from robustlab.evaluation import CorruptionComparison, CorruptionEvaluation


def corruption_table(e: CorruptionEvaluation) -> None:
    """Prints accuracy by corruption and severity; then the caveats."""
    from robustlab.report.words import mark, percent, sample

    severities = e.errors.severities
    rows = []
    for info, one in zip(e.corruptions, e.errors.each, strict=True):
        cells = [f"{100 * e.cell(info.name, s).accuracy.value:.1f}" for s in severities]
        ce = [] if one.ce is None else [f"{100 * one.ce.value:.1f}"]
        star = " *" if info.not_comparable else ""
        rows.append([info.name + star, *cells, f"{100 * (1 - one.error.value):.1f}", *ce])
    level = percent(e.errors.mean_error.level, 0)
    clean = "" if e.clean is None else f"Clean {show.fraction(e.clean.accuracy)}; "
    mce = "" if e.errors.mce is None else f"; mCE {show.fraction(e.errors.mce)}, divided by {e.normalised_by}"
    title = (
        f"{e.model.name}: {sample(e.data)} {clean}mean accuracy over {len(e.errors.over)} corruptions "
        f"{show.fraction(e.mean_accuracy)}{mce}. Brackets: {level} intervals."
    )
    head = ["accuracy in %", *map(str, severities), "mean", *(["CE"] if e.errors.mce is not None else [])]
    show.table(head, rows, title=title)
    if why := mark(e.findings):
        show.paragraph(f"{e.model.name} is {why}", [])
    for caveat in e.caveats:
        show.paragraph(caveat, [])


def corruption_comparisons(found: Sequence[CorruptionComparison]) -> None:
    """Prints paired comparisons, a table for each pair of models; marked if significant after correction."""
    from robustlab.report.words import points

    for one in found:
        severities = sorted({cell.severity for cell in one.cells} - {0})
        rows = []
        for pair in one.corruptions:
            cells = [one.cell(pair.corruption, s) for s in severities]
            differences = [
                "" if c is None else f"{points(c.difference, 0)}{_star(c.corrected, one.level)}" for c in cells
            ]
            d = pair.difference
            rows.append([pair.corruption, *differences, f"{points(d.value)} [{points(d.low)}, {points(d.high)}]"])
        clean = one.cell("clean", 0)
        mean = f"{points(one.mean.value)} [{points(one.mean.low)}, {points(one.mean.high)}]"
        first = "" if clean is None else f"; clean {points(clean.difference)}{_star(clean.corrected, one.level)}"
        title = (
            f"{one.b} over {one.a}, {one.n} images, in points: mean {mean}{first}. "
            "*: significant by the exact McNemar test, corrected for all cells (Holm)."
        )
        show.table(["severity", *map(str, severities), "mean"], rows, title=title)


def _star(corrected: float, level: float) -> str:
    return "*" if corrected < 1 - level else ""
