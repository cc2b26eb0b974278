"""Constraints on the words that may be changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from robustlab.core.kinds import typed
from robustlab.text.parts import Change
from robustlab.text.words import Words


@dataclass(frozen=True)
class StopWords:
    """Stop words stay unchanged. Case matters: "the" may be one where "The" is none.

    Args:
        words: that stay.
    """

    words: frozenset[str] = field(repr=False)
    name: str = "no stop words"

    def positions(self, original: Words, words: Words) -> Sequence[bool]:  # noqa: ARG002
        """For each word, whether it is no stop word."""
        stay = self.words
        return [word not in stay for word in words.words]


@dataclass(frozen=True)
class NoRepeat:
    """No word is changed twice, and none that was put in."""

    name: str = "no word twice"

    def positions(self, original: Words, words: Words) -> Sequence[bool]:  # noqa: ARG002
        """For each word, whether it is as in the original."""
        done = {at for at, _ in words.edits}  # an inserted word is an edit, too
        return [at not in done for at in words.origin]


@typed
@dataclass(frozen=True)
class MinLength:
    """Short words stay unchanged.

    Args:
        least: characters of a word that may be changed.
    """

    least: int

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"words of {self.least} letters or more"

    def positions(self, original: Words, words: Words) -> Sequence[bool]:  # noqa: ARG002
        """For each word, whether it is long enough."""
        return [len(word) >= self.least for word in words.words]


@typed
@dataclass(frozen=True)
class MostChanged:
    """At most some words are replaced, deleted and inserted, all together.

    Args:
        number: of words; None: no limit.
        share: of the words of the original, in 0..1; None: no limit. It is rounded up to whole words.
        least: words that may be changed whatever the share says.

    Raises: ValueError without a limit, or for one that is no number or share.
    """

    number: int | None = None
    share: float | None = None
    least: int = 0

    def __post_init__(self) -> None:
        if self.number is None and self.share is None:
            raise ValueError("give the largest number of changed words, or their largest share")
        if (self.number or 0) < 0 or not 0 <= (self.share or 0) <= 1 or self.least < 0:
            raise ValueError(f"number and least must be at least 0 and share in 0..1, got {self}")

    @property
    def name(self) -> str:
        """Words for tables."""
        parts = [] if self.number is None else [f"{self.number} word{'s' * (self.number != 1)}"]
        if self.share is not None:
            parts.append(f"{100 * self.share:g} % of words" + (f" or {self.least}" if self.least else ""))
        return f"at most {' and '.join(parts)} changed"

    def limit(self, original: Words) -> int:
        """Words of a text that may be changed."""
        # The share is a decimal fraction: 0.2 of 15 words are 3, though 0.2 * 15 is a little more.
        count = len(original.words)
        share = count if self.share is None else max(self.least, math.ceil(round(self.share * count, 9)))
        return share if self.number is None else min(self.number, share)

    def positions(self, original: Words, words: Words) -> Sequence[bool]:
        """For each word, whether it may be changed; where the limit is reached, only those changed before."""
        if words.changed < self.limit(original):
            return [True] * len(words.words)
        done = {at for at, _ in words.edits}
        return [at in done for at in words.origin]

    def keeps(self, changes: Sequence[Change]) -> Sequence[bool]:
        """For each change, whether the text stays within the limit."""
        return [self._within(one.after, self.limit(one.original)) for one in changes]

    @staticmethod
    def _within(words: Words, limit: int) -> bool:
        """Tests a text; there are at most as many changed words as edits."""
        return len(words.edits) <= limit or words.changed <= limit
