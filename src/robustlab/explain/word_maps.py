"""Attributions of words: values of any method, and the words of texts that they belong to."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.core.types import Text

Span: TypeAlias = tuple[int, int, int]
"""Field, first character and end."""
CutWords: TypeAlias = Callable[[str], Sequence[tuple[int, int]]]
"""First character and end of each word of a text, in order."""
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@typed
@dataclass(frozen=True)
class WordMaps:
    """Attributions of the words of some texts.

    Args:
        texts: the texts.
        spans: places of the words of each text.
        values: one number for each word, float64; above 0 speaks for the class, below 0 against it.
        target: the explained classes (N,).
        method: name of the method, with its settings.
        rest: values of what is no word, such as signs, per text (N,); None for a method without it.
        change: what values and rest of a text should add up to (N,); None for a method that promises no sum.
    """

    texts: tuple[Text, ...]
    spans: tuple[tuple[Span, ...], ...]
    values: tuple[Tensor, ...]
    target: Tensor
    method: str
    rest: Tensor | None = None
    change: Tensor | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """The words of each text."""
        pairs = zip(self.texts, self.spans, strict=True)
        return tuple(tuple(fields_of(text)[field][a:b] for field, a, b in spans) for text, spans in pairs)

    @property
    def gap(self) -> Tensor | None:
        """Sum of values and rest less ``change`` (N,), float64; 0 for a complete map. None without a promised sum."""
        if self.change is None:
            return None
        sums = torch.stack([one.sum() for one in self.values])
        return sums - self.change.double() + (0 if self.rest is None else self.rest.double())


def fields_of(text: Text) -> tuple[str, ...]:
    """The fields of a text, one or several."""
    return (text,) if isinstance(text, str) else tuple(text)


def whole_words(text: str) -> list[tuple[int, int]]:
    """Places of runs of letters, digits and underscores, with apostrophes and hyphens inside.

    >>> [("It's well-made, no?")[a:b] for a, b in whole_words("It's well-made, no?")]
    ["It's", 'well-made', 'no']
    """
    return [match.span() for match in _WORD.finditer(text)]


def checked_texts(texts: Sequence[Text]) -> tuple[Text, ...]:
    """The texts as given.

    Raises: ValueError if there are none, or if they are no texts.
    """
    if isinstance(texts, str) or not len(texts):
        raise ValueError(f"texts must be a list of texts, got {'one text' if isinstance(texts, str) else 'none'}")
    for text in texts:
        if not isinstance(text, str | tuple) or not all(isinstance(field, str) for field in text):
            raise ValueError(f"a text must be a string, or a tuple of strings as its fields, got {text!r}")
    return tuple(texts)


def cut_texts(texts: Sequence[Text], words: CutWords) -> tuple[tuple[Span, ...], ...]:
    """Places of the words of each text.

    Raises: ValueError for places that are out of order or outside a text.
    """
    return tuple(
        tuple((number, *span) for number, field in enumerate(fields_of(text)) for span in _places(field, words))
        for text in texts
    )


def _places(text: str, words: CutWords) -> list[tuple[int, int]]:
    spans = [(int(start), int(end)) for start, end in words(text)]
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    if edges != sorted(edges):
        raise ValueError(f"words must give places in order inside {text!r}, got {spans}")
    return spans


def by_words(spans: Sequence[Span], tokens: Sequence[Span], values: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of token values over the words of a text, and what is left.

    The value of a token that touches several words is shared evenly.

    Args:
        spans: of the words.
        tokens: spans of the tokens; one of no characters belongs to no word.
        values: of the tokens (L,), L at least their number.

    Returns: values of the words, and the sum of tokens outside of words, float64.
    """
    found = torch.zeros(len(spans), dtype=torch.float64)
    ends, rest = [(field, end) for field, _, end in spans], values.double().sum()
    for (field, start, end), value in zip(tokens, values.double(), strict=False):
        first = bisect_right(ends, (field, start))
        touched = [n for n in range(first, len(spans)) if spans[n][0] == field and spans[n][1] < end]
        if touched and end > start:
            found[touched] += value / len(touched)
            rest = rest - value
    return found, rest
