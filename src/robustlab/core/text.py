"""Text of users and files, made safe for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_KEPT = "\t\n"
_PART = 3  # letters of a name by which it is known
_ORDERS = [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_WITHOUT = {number: None for number in _ORDERS if chr(number) not in _KEPT}


def printable(text: str) -> str:
    r"""A text without control characters: escapes and changes of the writing direction.

    >>> printable("a\x1b[31mb\u202ec")
    'a[31mbc'
    """
    return text.translate(_WITHOUT)


def meant(word: str, known: Iterable[str]) -> str:
    """A suggestion of the known name closest to an unknown one, or holding it; empty if none is close.

    >>> meant("Apdg", ["apgd", "fab"]), meant("xyz", ["apgd", "fab"]), meant("jpeg", ["jpeg_compression"])
    ('; did you mean apgd?', '', '; did you mean jpeg_compression?')
    """
    plain = {name.lower().replace("_", "-"): name for name in known}
    typed = word.strip().lower().replace("_", "-")
    found = get_close_matches(typed, plain, n=1) or [name for name in plain if len(typed) >= _PART and typed in name]
    return f"; did you mean {plain[found[0]]}?" if found else ""


def choice(word: str, known: Iterable[str], *, intro: str = "choose ") -> str:
    """End of a message about an unknown name: the closest known one and the list of all.

    >>> choice("sqash", ["crop", "squash"])
    '; did you mean squash? Choose crop, squash'
    """
    names = list(dict.fromkeys(known))
    near, listed = meant(word, names), f"{intro}{', '.join(names)}"
    return f"{near} {listed[0].upper()}{listed[1:]}" if near else f": {listed}"
