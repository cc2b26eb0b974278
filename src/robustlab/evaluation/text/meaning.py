"""Audit of meaning: whether a successful attack turned an opinion, or left the sentence similarity bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from robustlab.core.kinds import typed
from robustlab.text import cut
from robustlab.text.words import Segment

Edits: TypeAlias = Sequence[tuple[int, str]]
"""Position in the original and new word of each edit, see ``TextOutcome.edits``."""
BOUND = 0.85
"""Sentence similarity (cosine of MiniLM embeddings) below which a text left the bound."""
_OPINION = 1.0
"""Absolute score from which a word is an opinion word."""


@typed
@dataclass(frozen=True)
class Meaning:
    """Instruments of the audit; each may be missing.

    Args:
        opinion: from a word to its opinion score, negative for a bad one, 0 for none; words from ``_OPINION`` on count.
        similarity: from pairs of texts to their sentence similarities.
        bound: similarity below which a text left the bound.
        opinion_version: name and version of the opinion words.
        encoder_version: name and version of the sentence encoder.
        missing: commands that bring what is missing.
    """

    opinion: Callable[[str], float] | None = None
    similarity: Callable[[Sequence[tuple[str, str]]], Sequence[float]] | None = None
    bound: float = BOUND
    opinion_version: str = ""
    encoder_version: str = ""
    missing: tuple[str, ...] = ()

    def turned(self, original: str, edits: Edits, segment: Segment | None = None) -> bool | None:
        """Tests whether an attack turned the sign of an opinion word; None if that cannot be measured.

        A word and the one that took its place are compared; deleted words, with inserted ones.

        Args:
            original: the attacked field of the clean text.
            edits: of the attack.
            segment: words of a text in order, for languages without spaces.
        """
        if self.opinion is None:
            return None
        signs = {sign(self.opinion(old)) * sign(self.opinion(new)) for old, new in exchanged(original, edits, segment)}
        return -1 in signs


def sign(score: float) -> int:
    """1 for a word of good opinion, -1 for one of bad opinion, 0 for others."""
    return 0 if abs(score) < _OPINION else 1 if score > 0 else -1


def exchanged(original: str, edits: Edits, segment: Segment | None = None) -> list[tuple[str, str]]:
    """Pairs of a word that an attack took away and one that it put there.

    The last word at a position takes the place of the original one; each deleted word is paired with each inserted one.
    """
    words = cut(original, segment).words
    last = {at: new for at, new in edits if at >= 0}
    added = [new for at, new in edits if at < 0 and new]
    pairs = [(words[at], new) for at, new in last.items() if new and at < len(words)]
    return [*pairs, *((words[at], new) for at, gone in last.items() if not gone and at < len(words) for new in added)]
