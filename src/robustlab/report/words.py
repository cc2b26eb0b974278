"""Numbers as text: fractions, intervals, budgets, durations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from robustlab.core.finding import Finding
from robustlab.core.words import NOTHING as NOTHING
from robustlab.core.words import THIN as THIN
from robustlab.core.words import budget as budget
from robustlab.core.words import duration as duration
from robustlab.evaluation.record import DataInfo
from robustlab.statistics.estimate import Estimate
from robustlab.statistics.intervals import Interval

Fraction: TypeAlias = Interval | Estimate
"""A fraction, or a mean of fractions, with its interval."""


def percent(fraction: float, digits: int = 1) -> str:
    """0.8957 as "89.6 %"; NaN as a dash.

    >>> percent(0.5, 0).replace(THIN, " ")
    '50 %'
    """
    return NOTHING if math.isnan(fraction) else f"{100 * fraction:.{digits}f}{THIN}%"


def interval(fraction: Fraction, digits: int = 1) -> str:
    """The interval alone in per cent, "[87.5, 91.4]"."""
    if math.isnan(fraction.value):
        return NOTHING
    return f"[{100 * fraction.low:.{digits}f}, {100 * fraction.high:.{digits}f}]"


def real(value: float, digits: int = 3) -> str:
    """A number of either sign."""
    return number(value, digits).replace("-", "\N{MINUS SIGN}")


def span(estimate: Estimate, digits: int = 3) -> str:
    """The interval of any number, "[0.412, 0.52]"."""
    if math.isnan(estimate.value) or not math.isfinite(estimate.low + estimate.high):
        return NOTHING
    return f"[{real(estimate.low, digits)}, {real(estimate.high, digits)}]"


def points(difference: float, digits: int = 1) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return NOTHING if math.isnan(difference) else f"{100 * difference:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def doubts(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Codes of the findings for which numbers are not to be trusted: the serious ones."""
    return tuple(dict.fromkeys(f.code for f in findings if f.severity == "serious"))


def mark(findings: Sequence[Finding]) -> str:
    """A phrase for numbers that are not to be trusted; empty: no serious finding."""
    codes = doubts(findings)
    return f"not to be trusted: {', '.join(codes)}" if codes else ""


def number(value: float, digits: int = 3) -> str:
    """A size or count with a few significant digits."""
    if math.isnan(value):
        return NOTHING
    if value == int(value) and abs(value) < 1e15:
        return count(int(value))
    return f"{value:.{digits}g}" if abs(value) < 1000 else count(round(value))


def count(value: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{value:,}".replace(",", THIN) if abs(value) >= 10_000 else str(value)


def p_value(p: float) -> str:
    """A p-value; small ones as "< 0.0001", never as zero."""
    return f"<{THIN}0.0001" if p < 1e-4 else f"{p:.2g}"


def sample(data: DataInfo) -> str:
    """Size of the sample and of the data, and the way in which it was drawn."""
    of = f"{data.split} examples" if data.split else "examples"
    framed = f" Images: {data.framing}." if data.framing else ""
    if data.n == data.population:
        return f"All {count(data.n)} {of}.{framed}"
    return f"{count(data.n)} of {count(data.population)} {of} ({data.drawn}).{framed}"
