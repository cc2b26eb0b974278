"""Opinion words: those that people rated as clearly positive or negative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STRONG = 1.0
"""Smallest absolute rating, of 4, of an opinion word."""


@dataclass(frozen=True)
class OpinionWords:
    """Words with their ratings.

    Args:
        ratings: from -4, most negative, to 4, most positive, by the word in small letters.
        least: smallest absolute rating of an opinion word.

    Example:
        >>> found = OpinionWords({"good": 1.9, "okay": 0.9, "dull": -1.7})
        >>> [found.sign(word) for word in ("Good", "okay", "dull", "table")]
        [1, 0, -1, 0]
    """

    ratings: Mapping[str, float]
    least: float = STRONG

    def rating(self, word: str) -> float:
        """The rating of a word, 0 if it has none."""
        return self.ratings.get(word.lower(), 0.0)

    def sign(self, word: str) -> int:
        """1 for a positive opinion word, -1 for a negative one, 0 for any other word."""
        rating = self.rating(word)
        return 0 if abs(rating) < self.least else 1 if rating > 0 else -1

    def turned(self, old: str, new: str) -> bool:
        """True if an opinion word becomes one of the other sign."""
        return self.sign(old) * self.sign(new) < 0


@cache
def opinion_words_in(folder: Path) -> OpinionWords:
    """Words and ratings of ``vader_lexicon.txt`` in a folder.

    Source: Hutto and Gilbert, VADER, ICWSM 2014.
    """
    lines = (folder / "vader_lexicon.txt").read_text(encoding="utf-8").split("\n")
    rows = [line.split("\t") for line in lines if line.strip()]
    return OpinionWords({row[0]: float(row[1]) for row in rows})
