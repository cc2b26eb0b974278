"""Constraints by edit distance: the fewest characters to insert, delete or replace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec

from robustlab.core.kinds import typed
from robustlab.text.parts import Change
from robustlab.text.words import INSERTED


@typed
@dataclass(frozen=True)
class EditDistance:
    """The whole text stays within an edit distance of the original.

    Args:
        most: characters.

    Source: Levenshtein, Soviet Physics Doklady 1966; Gao et al., Black-box Generation of Adversarial Text Sequences to
        Evade Deep Learning Classifiers, SPW 2018 (at most 30).
    """

    most: int = 30

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"edit distance <= {self.most}"

    def keeps(self, changes: Sequence[Change]) -> Sequence[bool]:
        """For each change, whether the text is near enough."""
        return [
            _upper(one) <= self.most or distance(one.original.text, one.after.text, self.most) <= self.most
            for one in changes
        ]


@typed
@dataclass(frozen=True)
class WordEdits:
    """Each new word stays within an edit distance of the one in the original.

    Args:
        most: characters.
    """

    most: int

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"edit distance of words <= {self.most}"

    def allows(self, old: str, new: str) -> bool:
        """Tests whether a word is near enough."""
        return distance(old, new, self.most) <= self.most


def _upper(change: Change) -> int:
    """A bound on the edit distance from above: the sum over the words that were edited."""
    old, last, total = change.original.words, {}, 0
    for at, new in change.after.edits:
        if at == INSERTED:
            total += len(new) + 1
        else:
            last[at] = new
    for at, new in last.items():
        total += _word_upper(old[at], new) if new else len(old[at]) + 1
    return total


@lru_cache(maxsize=1 << 14)
def _word_upper(one: str, other: str) -> int:
    """A bound on the edit distance of two words: the longer one without what both begin and end with."""
    return max(map(len, _trimmed(one, other)))


def _trimmed(one: str, other: str) -> tuple[str, str]:
    """Two texts without what both begin with, and then without what both end with."""
    shorter = min(len(one), len(other))
    start = 0
    while start < shorter and one[start] == other[start]:
        start += 1
    end = 0
    while end < shorter - start and one[-1 - end] == other[-1 - end]:
        end += 1
    return one[start : len(one) - end], other[start : len(other) - end]


def distance(one: str, other: str, most: int) -> int:
    """The edit distance of two texts if it is at most ``most``; else some number above that."""
    fast = _fast()
    return within(one, other, most) if fast is None else fast(one, other, most)


@cache
def _fast() -> Callable[[str, str, int], int] | None:
    """The function of rapidfuzz, where that is installed."""
    if find_spec("rapidfuzz") is None:
        return None
    from rapidfuzz.distance import Levenshtein

    return lambda one, other, most: int(Levenshtein.distance(one, other, score_cutoff=most))


def within(one: str, other: str, most: int) -> int:
    """As ``distance``, in Python: rows of the table of distances, of which only a band can be within reach.

    Source: Ukkonen, Algorithms for Approximate String Matching, Information and Control 1985.
    """
    one, other = _trimmed(one, other)
    if abs(len(one) - len(other)) > most:
        return most + 1
    far = most + 1
    row = [min(place, far) for place in range(len(other) + 1)]
    for number, letter in enumerate(one, 1):
        low, high = max(1, number - most), min(len(other), number + most)
        left = min(number, far) if low == 1 else far
        new = [far] * len(row)
        new[low - 1] = left
        for place in range(low, high + 1):
            left = min(row[place] + 1, left + 1, row[place - 1] + (letter != other[place - 1]), far)
            new[place] = left
        row = new
    return row[-1]
