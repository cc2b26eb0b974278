"""Constraints on what words mean: their vectors, opinion words, and thoughts as sums of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robustlab.text.parts import Change, OnWords
from robustlab.text.words import Words


class Measured(Protocol):
    """Word vectors; None for a word without one."""

    def vector(self, word: str) -> NDArray[np.float32] | None:
        """The vector (d,) of a word."""

    def cosine(self, one: str, other: str) -> float | None:
        """Cosine of the angle between two words."""

    def distance(self, one: str, other: str) -> float | None:
        """Squared Euclidean distance of two words."""


class Opinions(Protocol):
    """Opinion words and their signs."""

    def turned(self, old: str, new: str) -> bool:
        """True if an opinion word becomes one of the other sign."""


@dataclass(frozen=True)
class WordCosine:
    """The vectors of an original word and the new one enclose a small angle.

    Args:
        vectors: of words.
        least: cosine.
        unknown: answer for words without a vector.
        vocabulary: name of the vectors.
    """

    vectors: Measured = field(repr=False)
    least: float
    unknown: bool = True
    vocabulary: str = "word vectors"

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"cosine of words >= {self.least:g} in {self.vocabulary}"

    def allows(self, old: str, new: str) -> bool:
        """Tests whether two words are close."""
        cosine = self.vectors.cosine(old, new)
        return self.unknown if cosine is None else cosine >= self.least


@dataclass(frozen=True)
class WordDistance:
    """The vectors of an original word and the new one are near each other.

    Args:
        vectors: of words.
        most: squared Euclidean distance.
        unit: the vectors are scaled to length 1, as counter-fitted ones are: the distance is 2 - 2 cosine.
        unknown: answer for words without a vector.
        vocabulary: name of the vectors.
    """

    vectors: Measured = field(repr=False)
    most: float
    unit: bool = False
    unknown: bool = True
    vocabulary: str = "word vectors"

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"squared distance of words <= {self.most:g} in {self.vocabulary}"

    def allows(self, old: str, new: str) -> bool:
        """Tests whether two words are close."""
        distance = self._unit(old, new) if self.unit else self.vectors.distance(old, new)
        return self.unknown if distance is None else distance <= self.most

    def _unit(self, old: str, new: str) -> float | None:
        cosine = self.vectors.cosine(old, new)
        return None if cosine is None else 2 - 2 * cosine


@dataclass(frozen=True)
class AgainstBefore:
    """A constraint on words that compares each new word with the one just before it, not with the original.

    Args:
        rule: on words.
    """

    rule: OnWords

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"{getattr(self.rule, 'name', 'words')}, against the word before"

    def keeps(self, changes: Sequence[Change]) -> Sequence[bool]:
        """For each change of one word, whether it is allowed; deleted and inserted words always are."""
        return [self._kept(one) for one in changes]

    def _kept(self, change: Change) -> bool:
        old, new = change.before.words, change.after.words
        return len(old) != len(new) or self.rule.allows(old[change.position], new[change.position])


@dataclass(frozen=True)
class KeepOpinion:
    """No opinion word becomes one of the other sign.

    Args:
        words: opinion words.
    """

    words: Opinions = field(repr=False)
    name: str = "opinion words keep their sign"

    def allows(self, old: str, new: str) -> bool:
        """Tests whether the sign stays, or one of the words has none."""
        return not self.words.turned(old, new)


@dataclass(frozen=True)
class MeanVector:
    """The mean of the vectors of all words, scaled to length 1, stays near that of the original.

    Args:
        vectors: of words; words without one are left out.
        most: squared Euclidean distance.
        vocabulary: name of the vectors.

    Source: Kuleshov et al., Adversarial Examples for Natural Language Classification Problems, 2018, equation 4.
    """

    vectors: Measured = field(repr=False)
    most: float
    vocabulary: str = "word vectors"

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"squared distance of mean vectors <= {self.most:g} in {self.vocabulary}"

    def keeps(self, changes: Sequence[Change]) -> Sequence[bool]:
        """For each change, whether the mean is near enough."""
        means: dict[str, NDArray[np.float64]] = {}
        for one in changes:
            if one.original.text not in means:
                means[one.original.text] = self._mean(one.original)
        return [float(((self._mean(one.after) - means[one.original.text]) ** 2).sum()) <= self.most for one in changes]

    def _mean(self, words: Words) -> NDArray[np.float64]:
        """The mean (d,); 0 where no word has a vector."""
        found = [vector for word in words.words if (vector := self.vectors.vector(word)) is not None]
        if not found:
            return np.zeros(1)
        rows = np.array(found, dtype=np.float64)
        mean: NDArray[np.float64] = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).mean(axis=0)
        return mean
