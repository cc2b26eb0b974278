"""Texts cut into words and the separators between them, with an exact way back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from robustlab.core.kinds import typed

Segment: TypeAlias = Callable[[str], Sequence[str]]
"""Words of a text, in order, for languages that put no spaces between them."""

INSERTED = -1
"""Origin of a word that the original does not have."""
_EDGE = "'-_*@"
_RUNS = re.compile(r"\S+")
_JOINERS = "\u200c\u200d"
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


class Words(NamedTuple):
    """A text as words and the separators around them; changes give new values.

    A text is cut once: the word that an edit writes counts as one word, also with a space in it. ``gaps`` has one entry
    more than ``words``; the text is gap, word, gap, ..., word, gap.
    """

    words: tuple[str, ...]
    gaps: tuple[str, ...]
    origin: tuple[int, ...]
    """Position of each word in the original text; ``INSERTED`` for a new one."""
    edits: tuple[tuple[int, str], ...]
    """Position in the original and new word of each edit, in the order made; "" deleted it."""
    text: str
    """The text itself."""

    @property
    def changed(self) -> int:
        """Number of words of the original that are replaced or deleted, plus those inserted."""
        return len({at for at, _ in self.edits if at != INSERTED}) + sum(at == INSERTED for at in self.origin)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First character and end of each word in ``text``."""
        ends = list(accumulate(len(part) for pair in zip(self.gaps, self.words, strict=False) for part in pair))
        return tuple(zip(ends[0::2], ends[1::2], strict=True))

    def replaced(self, position: int, word: str) -> Words:
        """The text with another word at a position."""
        return self.replaced_all(position, [word])[0]

    def replaced_all(self, position: int, words: Sequence[str]) -> list[Words]:
        """The texts with each of the words at a position, in their order."""
        before, after = self.words[:position], self.words[position + 1 :]
        start, end = self._until(position), self._from(position)
        gaps, origin, edits, at = self.gaps, self.origin, self.edits, self.origin[position]
        return [
            Words((*before, word, *after), gaps, origin, (*edits, (at, word)), f"{start}{word}{end}") for word in words
        ]

    def rewritten(self, words: Mapping[int, str]) -> Words:
        """The text with other words at several positions."""
        found = self
        for position, word in sorted(words.items()):
            found = found.replaced(position, word)
        return found

    def deleted(self, position: int) -> Words:
        """The text without a word and without one space: the one before the word; after it, for the first word."""
        left, right = self.gaps[position], self.gaps[position + 1]
        if position:
            left = left.removesuffix(" ")
        else:
            right = right.removeprefix(" ")
        gaps = (*self.gaps[:position], left + right, *self.gaps[position + 2 :])
        words = self.words[:position] + self.words[position + 1 :]
        origin = self.origin[:position] + self.origin[position + 1 :]
        return Words(words, gaps, origin, (*self.edits, (self.origin[position], "")), _render(words, gaps))

    def inserted(self, position: int, word: str) -> Words:
        """The text with a word and a space before a position; at the end, with a space and the word."""
        gaps = list(self.gaps)
        if position < len(self.words):
            gaps.insert(position + 1, " ")
        else:
            gaps[position:] = [" " if position else "", gaps[position]]
        words = (*self.words[:position], word, *self.words[position:])
        origin = (*self.origin[:position], INSERTED, *self.origin[position:])
        return Words(words, tuple(gaps), origin, (*self.edits, (INSERTED, word)), _render(words, gaps))

    def _until(self, position: int) -> str:
        """The text before a word."""
        pairs = zip(self.gaps, self.words[:position], strict=False)
        return "".join([part for pair in pairs for part in pair]) + self.gaps[position]

    def _from(self, position: int) -> str:
        """The text after a word."""
        pairs = zip(self.gaps[position + 1 :], self.words[position + 1 :], strict=False)
        return "".join([part for pair in pairs for part in pair]) + self.gaps[-1]


@typed
def cut(text: str, segment: Segment | None = None) -> Words:
    """Cuts a text into words.

    In each run without spaces, ``' - _ * @`` are cut from both ends; words are what is left of letters, digits, marks
    and ``_ ' - * @``, cut again. "don't" and "well-made" are one word, "(end)." is "end".

    Args:
        text: any text; one without words is all separator.
        segment: words of the text in order, for languages without spaces; each must stand in the text.

    Raises: ValueError for a text in a script without spaces if ``segment`` is missing, or for words not in the text.

    Example:
        >>> cut("It's (really) good!").words
        ("It's", 'really', 'good')
    """
    spans = _spans(text) if segment is None else _found(text, segment(text))
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    gaps = tuple(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    words = tuple(text[start:end] for start, end in spans)
    return Words(words, gaps, tuple(range(len(words))), (), text)


def _spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each word."""
    if not text.isascii() and 2 * len(_UNSPACED.findall(text)) > sum(map(str.isalpha, text)):
        raise ValueError(
            f"the text {text[:20]!r} is in a script without spaces between words: give segment=, a function from a "
            "text to its words"
        )
    pattern = _pattern(text.isascii())
    found: list[tuple[int, int]] = []
    for run in _RUNS.finditer(text):
        start, end = _stripped(text, *run.span())
        found += [_stripped(text, *word.span()) for word in pattern.finditer(text, start, end)]
    return [(start, end) for start, end in found if start < end]


@cache
def _pattern(plain: bool) -> re.Pattern[str]:  # noqa: FBT001
    """Runs of characters of words; outside ASCII also the marks that belong to the letter before them."""
    marks = "" if plain else _JOINERS + "".join(c for c in map(chr, range(0x300, 0x1E900)) if _mark(c))
    return re.compile(rf"[\w'\-*@`{marks}]+")


def _mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without the characters that words neither begin nor end with."""
    while start < end and text[start] in _EDGE:
        start += 1
    while start < end and text[end - 1] in _EDGE:
        end -= 1
    return start, end


def _found(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Spans of given words, each after the one before."""
    spans, at = [], 0
    for word in words:
        start = text.find(word, at) if isinstance(word, str) and word.strip() else -1
        if start < 0:
            raise ValueError(f"segment gave the word {word!r}, which does not stand in {text[at : at + 20]!r} or after")
        at = start + len(word)
        spans.append((start, at))
    return spans


def _render(words: Sequence[str], gaps: Sequence[str]) -> str:
    return "".join([part for pair in zip(gaps, words, strict=False) for part in pair]) + gaps[-1]
