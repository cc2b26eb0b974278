"""Synonyms: of a dictionary, and neighbours among word vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from robustlab.text.passages import matched_case


class Near(Protocol):
    """Word vectors that know the neighbours of a word."""

    def neighbours(self, word: str, n: int) -> Sequence[tuple[str, float]]:
        """The n nearest other words with their cosines, the nearest first; none for an unknown word."""


@dataclass(frozen=True)
class Synonyms:
    """Synonyms of a word in a dictionary.

    Args:
        synonyms: from a word to its synonyms, single words in a fixed order.
        dictionary: its name.

    Source: Ren et al., Generating Natural Language Adversarial Examples through Probability Weighted Word Saliency,
        ACL 2019, whose dictionary is WordNet.
    """

    synonyms: Callable[[str], Sequence[str]] = field(repr=False)
    dictionary: str = "WordNet"

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"{self.dictionary} synonyms"

    def options(self, word: str) -> Sequence[str]:
        """The synonyms."""
        return [one for one in self.synonyms(word) if one != word]


@dataclass(frozen=True)
class Neighbours:
    """The words with the nearest vectors, in the case of the word.

    Args:
        vectors: of lower-case words.
        count: number of neighbours.
        vocabulary: name of the vectors.
        least: cosine that a neighbour must have.
    """

    vectors: Near = field(repr=False)
    count: int
    vocabulary: str = "word vectors"
    least: float = -1.0

    @property
    def name(self) -> str:
        """Words for tables."""
        least = f" with cosine >= {self.least:g}" if self.least > -1 else ""
        return f"{self.count} neighbours in {self.vocabulary}{least}"

    def options(self, word: str) -> Sequence[str]:
        """The neighbours, the nearest first."""
        near = self.vectors.neighbours(word.lower(), self.count)
        return [matched_case(one, word) for one, cosine in near if cosine >= self.least]
