"""Numbers in the spelling of the user."""

from __future__ import annotations

import math
from fractions import Fraction

THIN = "\N{NARROW NO-BREAK SPACE}"
NOTHING = "\N{EN DASH}"
_SAME = 1e-4
"""Tolerance in units of 1/255: budgets for 8-bit images may be slightly larger, for the rounding of levels."""
_SMALL, _LARGEST = 16, 1024
"""Denominators of fractions that users type; small ones rather than 255ths: 1/3, not 85/255."""


def budget(eps: float) -> str:
    """Eps as the user probably typed it: whole 255ths and other fractions as such, else the shortest decimal.

    >>> budget(8 / 255), budget(0.1), budget(1 / 3), budget(0.0625)
    ('8/255', '0.1', '1/3', '0.0625')
    """
    whole, short = round(eps * 255), f"{eps:g}"
    if float(short) == eps:
        return short
    for largest in (_SMALL, _LARGEST):
        fraction = Fraction(eps).limit_denominator(largest) if 0 < eps < _LARGEST else Fraction(0)
        if fraction.denominator > 1 and fraction.numerator / fraction.denominator == eps:
            return f"{fraction.numerator}/{fraction.denominator}"
        if 0 < whole < 255 and abs(eps * 255 - whole) < _SAME:
            return f"{whole}/255"
    return short


def duration(seconds: float) -> str:
    """Seconds as "0.4 s", "12 s", "3 min 05 s" or "2 h 07 min"."""
    if math.isnan(seconds):
        return NOTHING
    if seconds < 10:
        return f"{seconds:.2g}{THIN}s" if seconds >= 0.01 else f"<{THIN}0.01{THIN}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60:02d}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60:02d}{THIN}min"
