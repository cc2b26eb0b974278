"""Words that the victim's gradient points to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from robustlab.text.parts import WordOptions, WordTable
from robustlab.text.words import Words, cut

_UNKNOWN = ("<unk>", "[UNK]")


@dataclass(frozen=True)
class GradientSwaps:
    """The exchanges of a word that raise the loss most, to first order.

        gain(position, word) = gradient(position) . (embedding(word) - embedding(present word))

    Words of the victim that are no single word with a letter in it are not used.

    Args:
        top: number of exchanges, over all positions together.
        each: this number for each position, which come one after the other.
        among: the words to choose from for each word, such as its neighbours; None: all words of the victim.

    Source: Ebrahimi et al., HotFlip: White-Box Adversarial Examples for Text Classification, ACL 2018, equation 10.
    """

    top: int = 1
    each: bool = False
    among: WordOptions | None = None

    @property
    def name(self) -> str:
        """Words for tables."""
        among = "" if self.among is None else f" of {self.among.name}"
        return f"gradient, best {self.top}{among}{' at each word' if self.each else ''}"

    def swaps(
        self, words: Words, positions: Sequence[int], gradient: NDArray[np.floating], table: WordTable
    ) -> Sequence[Words]:
        """Texts with one word exchanged, the most promising first; equal ones by position and place in the table.

        Args:
            words: the text.
            positions: of the words that may change.
            gradient: of the loss with respect to the embedding of each word (n, d).
            table: the victim's words and their embeddings.
        """
        usable, places = _usable(table.words)
        at = np.asarray(positions, dtype=np.intp)
        if not len(at) or not len(usable):
            return []
        slopes = np.asarray(gradient, dtype=np.float64)[at]
        gains = slopes @ table.vectors[usable].T.astype(np.float64)
        for row, position in enumerate(positions):
            present = _place(words.words[position], places)
            if present >= 0:
                gains[row] -= slopes[row] @ table.vectors[present]
            if self.among is not None:
                near = {places[one] for one in self.among.options(words.words[position].lower()) if one in places}
                gains[row][~np.isin(usable, list(near))] = -np.inf
        new = [table.words[place] for place in usable]
        if self.each:
            rows = range(len(at))
            return [one for row in rows for one in self._texts(words, at[row : row + 1], gains[row : row + 1], new)]
        return self._texts(words, at, gains, new)

    def _texts(self, words: Words, at: NDArray[np.intp], gains: NDArray[np.float64], new: list[str]) -> list[Words]:
        """The texts of the largest gains (P, V)."""
        flat = -gains.ravel()
        # A word may be the present one: look at one more exchange for each position than are wanted.
        most = min(len(flat), self.top + len(at))
        first = np.flatnonzero((flat <= np.partition(flat, most - 1)[most - 1]) & (flat < np.inf))
        found = []
        for number in first[np.argsort(flat[first], kind="stable")].tolist():
            position, word = int(at[number // len(new)]), new[number % len(new)]
            if word.lower() != words.words[position].lower():
                found.append(words.replaced(position, word))
            if len(found) == self.top:
                break
        return found


@lru_cache(maxsize=4)
def _usable(words: tuple[str, ...]) -> tuple[NDArray[np.intp], dict[str, int]]:
    """Places of single words with a letter, and the place of every word."""
    fit = [n for n, word in enumerate(words) if any(map(str.isalpha, word)) and _whole(word)]
    return np.array(fit, dtype=np.intp), {word: place for place, word in enumerate(words)}


def _whole(word: str) -> bool:
    try:
        return cut(word).words == (word,)
    except ValueError:  # scripts without spaces
        return False


def _place(word: str, places: dict[str, int]) -> int:
    """Place of a word, or of the one for unknown words; -1: neither is there."""
    for one in (word, word.lower(), *_UNKNOWN):
        if one in places:
            return places[one]
    return -1
