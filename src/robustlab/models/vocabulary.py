"""Vocabularies of text models: kept as bytes in a buffer, so that a weight file and a digest hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MOST = 1 << 18
"""Pieces of texts whose tokens are remembered, at most."""


def packed(words: Sequence[str]) -> Tensor:
    """Words as bytes (B,), uint8, one on each line.

    Raises: ValueError for a word with a line break, or one that comes twice.
    """
    wrong = next((word for word in words if "\n" in word), None)
    if wrong is not None:
        raise ValueError(f"a word of the vocabulary has a line break: {wrong!r}")
    if len(set(words)) < len(words):
        twice = next(word for n, word in enumerate(words) if word in set(words[:n]))
        raise ValueError(f"the vocabulary has the word {twice!r} twice")
    return torch.frombuffer(bytearray("\n".join(words).encode("utf-8", "surrogatepass")), dtype=torch.uint8)


def unpacked(vocabulary: Tensor) -> tuple[str, ...]:
    """Words of the bytes of ``packed``.

    Raises: ValueError if they are no text.
    """
    try:
        text = vocabulary.cpu().numpy().tobytes().decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise ValueError(f"the vocabulary of this model is damaged: {error}") from error
    return tuple(text.split("\n"))


class Pieces:
    """Tokens of the pieces between white space, each read once; none may reach over white space.

    Args:
        tokens: from a piece to its token numbers.
    """

    def __init__(self, tokens: Callable[[str], tuple[int, ...]]) -> None:
        self.tokens = tokens
        self.known: dict[str, tuple[int, ...]] = {}

    def of(self, text: str) -> list[int]:
        """Token numbers of a text."""
        known = self.known
        found: list[int] = []
        for piece in text.split():
            ids = known.get(piece)
            found += self.learnt(piece) if ids is None else ids
        return found

    def learnt(self, piece: str) -> tuple[int, ...]:
        """Token numbers of a new piece."""
        if len(self.known) >= MOST:
            self.known.clear()
        return self.known.setdefault(piece, self.tokens(piece))


def lowered_spans(spans: list[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """Spans in ``text.lower()`` as spans in the text: some letters become two when they are lowered."""
    if len(text.lower()) == len(text):
        return spans
    origin = [place for place, letter in enumerate(text) for _ in letter.lower()]
    return [(origin[start], origin[end - 1] + 1) if end > start else (start, end) for start, end in spans]
