"""Texts of others, made safe to be shown."""

from __future__ import annotations

_KEPT = "\t\n"
_ORDERS = [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_WITHOUT = {number: None for number in _ORDERS if chr(number) not in _KEPT}


def printable(text: str) -> str:
    r"""A text without characters that a terminal obeys instead of showing them: escapes, and turns of direction.

    >>> printable("a\x1b[31mb\u202ec")
    'a[31mbc'
    """
    return text.translate(_WITHOUT)
