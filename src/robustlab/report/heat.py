"""Shaded tables, corruption by severity, of one model or of the difference of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robustlab.evaluation.corruptions.compare import CellPair, CorruptionComparison
from robustlab.evaluation.corruptions.record import CorruptionEvaluation, CorruptionInfo, correct
from robustlab.report.words import NOTHING, interval, p_value, percent, points

_FULL = 0.3
"""A difference that is shown in the strongest shade."""
_SIGNIFICANT = 0.05
_FAMILIES = {"extra": "Extra, in no mean", "own": "Own"}


@dataclass(frozen=True)
class HeatCell:
    """One number and its shade."""

    text: str
    shade: float
    """0..1."""
    good: bool
    """True for the colour of better numbers."""
    tooltip: str
    """Text under the pointer."""


@dataclass(frozen=True)
class HeatRow:
    """One corruption."""

    name: str
    note: str
    """Reason why its numbers are not comparable; empty if they are."""
    cells: tuple[HeatCell, ...]
    mean: str
    """Over severities."""
    interval: str
    ce: str
    """Corruption error in per cent of the baseline's; empty: none."""


@dataclass(frozen=True)
class Heat:
    """The whole table."""

    title: str
    severities: tuple[int, ...]
    families: tuple[tuple[str, tuple[HeatRow, ...]], ...]
    normalised: bool
    """True if there are corruption errors."""


def spoken(corruption: str) -> str:
    """Name of a corruption in plain words.

    >>> spoken("jpeg_compression")
    'JPEG compression'
    """
    words = corruption.replace("_", " ").replace("jpeg", "JPEG")
    return words[:1].upper() + words[1:]


def family_name(family: str) -> str:
    """A family as a heading."""
    return _FAMILIES.get(family, family.capitalize())


def heat(evaluation: CorruptionEvaluation) -> Heat:
    """Accuracy of one model, corruption by severity: the more errors, the stronger the shade."""
    severities, errors = evaluation.errors.severities, {one.corruption: one for one in evaluation.errors.each}

    def row(info: CorruptionInfo) -> HeatRow:
        mean, ce = correct(errors[info.name].error), errors[info.name].ce
        cells = tuple(_measured(evaluation, info.name, s) for s in severities)
        error = "" if ce is None else percent(ce.value, 0)
        return HeatRow(spoken(info.name), info.not_comparable, cells, percent(mean.value), interval(mean), error)

    rows = [(info.family, row(info)) for info in evaluation.corruptions]
    return Heat(evaluation.model.name, severities, _grouped(rows), evaluation.errors.mce is not None)


def _measured(evaluation: CorruptionEvaluation, corruption: str, severity: int) -> HeatCell:
    accuracy = evaluation.cell(corruption, severity).accuracy
    shown = f"{percent(accuracy.value)} {interval(accuracy)}, n = {accuracy.n}"
    tooltip = f"{spoken(corruption)}, severity {severity}: {shown}"
    return HeatCell(f"{100 * accuracy.value:.0f}", 1 - accuracy.value, good=False, tooltip=tooltip)


def difference(comparison: CorruptionComparison, infos: Sequence[CorruptionInfo]) -> Heat:
    """Second model less the first, in points; shaded where the test, corrected for all cells, finds a difference."""
    severities = tuple(sorted({cell.severity for cell in comparison.cells} - {0}))
    means = {pair.corruption: pair.difference for pair in comparison.corruptions}
    rows = []
    for info in infos:
        if info.name in means:
            mean = means[info.name]
            span = f"[{points(mean.low)}, {points(mean.high)}]"
            cells = tuple(_compared(comparison.cell(info.name, s)) for s in severities)
            rows.append((info.family, HeatRow(spoken(info.name), "", cells, points(mean.value), span, "")))
    title = f"{comparison.b} over {comparison.a}"
    return Heat(title, severities, _grouped(rows), normalised=False)


def _compared(pair: CellPair | None) -> HeatCell:
    if pair is None:
        return HeatCell(NOTHING, 0.0, good=True, tooltip="not measured for both")
    shade = min(1.0, abs(pair.difference) / _FULL) if pair.corrected < _SIGNIFICANT else 0.0
    span = f"{points(pair.difference)} [{points(pair.low)}, {points(pair.high)}]"
    tooltip = (
        f"{spoken(pair.corruption)}, severity {pair.severity}: {span}; only the first correct {pair.only_a}, only the "
        f"second {pair.only_b}; p {p_value(pair.p_value)}, corrected {p_value(pair.corrected)}"
    )
    rounded = round(100 * pair.difference)
    text = f"{rounded:+d}".replace("-", "\N{MINUS SIGN}") if rounded else "0"
    return HeatCell(text, shade, good=pair.difference > 0, tooltip=tooltip)


def _grouped(rows: Sequence[tuple[str, HeatRow]]) -> tuple[tuple[str, tuple[HeatRow, ...]], ...]:
    """Rows by family, in the order of first appearance."""
    families = dict.fromkeys(family for family, _ in rows)
    return tuple((family_name(one), tuple(row for family, row in rows if family == one)) for one in families)
