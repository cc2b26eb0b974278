"""Changes between two texts, marked word by word; characters that cannot be seen are shown by name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple, TypeAlias

from robustlab.text import cut

Kind: TypeAlias = Literal["same", "gone", "new"]
MOST = 4000
"""Words and separators of a text that are compared; longer texts are marked as a whole from there on."""
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff{_BIDI}]")
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff\u061c\u00a0\u2000-\u200a\u205f\u3000]"
)
_CONTROLS = {"\x08": "BACKSPACE", "\x7f": "DELETE", "\r": "CARRIAGE RETURN", "\x1b": "ESCAPE", "\x00": "NULL"}


class Piece(NamedTuple):
    """A part of a text."""

    kind: Kind
    text: str
    hidden: bool = False
    """True if ``text`` is the name of a character that cannot be seen."""
    note: str = ""
    """Names of the letters that look like others."""


def compared(original: str, adversarial: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Pieces of two texts; what the first alone has is "gone", what the second alone has "new"."""
    a, b = _tokens(original), _tokens(adversarial)
    first: list[Piece] = []
    second: list[Piece] = []
    for tag, a0, a1, b0, b1 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        same = tag == "equal"
        first += _pieces("same" if same else "gone", "".join(a[a0:a1]))
        second += _pieces("same" if same else "new", "".join(b[b0:b1]))
    return tuple(first), tuple(second)


def _tokens(text: str) -> list[str]:
    """Words and separators of a text; the rest of a very long one as one."""
    found = cut(text)
    tokens = [found.gaps[0], *(part for pair in zip(found.words, found.gaps[1:], strict=True) for part in pair)]
    tokens = [token for token in tokens if token]
    return tokens if len(tokens) <= MOST else [*tokens[:MOST], "".join(tokens[MOST:])]


def _pieces(kind: Kind, text: str) -> Iterator[Piece]:
    """A text with the unseen characters named: all of them where it is changed, else those that would disturb."""
    start = 0
    for found in (_UNSAFE if kind == "same" else _UNSEEN).finditer(text):
        if found.start() > start:
            yield _shown(kind, text[start : found.start()])
        yield Piece(kind, character(found.group()), hidden=True)
        start = found.end()
    if start < len(text):
        yield _shown(kind, text[start:])


def _shown(kind: Kind, text: str) -> Piece:
    odd = [] if kind == "same" else [c for c in dict.fromkeys(text) if ord(c) > 127 and c.isalpha()]
    return Piece(kind, text, note=", ".join(f"{c}: {character(c).lower()}" for c in odd))


def character(one: str) -> str:
    r"""Name of a character.

    >>> character("\u200b"), character("\ud800"), character("\x1b")
    ('ZERO WIDTH SPACE', 'U+D800', 'ESCAPE')
    """
    return _CONTROLS.get(one, "") or str(unicodedata.name(one, f"U+{ord(one):04X}"))


def plain_marks(pieces: Sequence[Piece]) -> str:
    """Pieces as one line of plain text: [-gone-] and {+new+}, with <NAME> for characters that cannot be seen."""
    marks = {"gone": ("[-", "-]"), "new": ("{+", "+}"), "same": ("", "")}
    lines, before = [""], "same"
    for piece in (*pieces, Piece("same", "")):
        if piece.kind != before:
            lines.append(marks[before][1] + marks[piece.kind][0])
        lines.append(f"<{piece.text}>" if piece.hidden else piece.text)
        before = piece.kind
    return "".join(lines)
