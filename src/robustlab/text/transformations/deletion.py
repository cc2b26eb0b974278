"""Words left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robustlab.text.words import Words


@dataclass(frozen=True)
class DeleteWord:
    """The word is left out, unless it is the last one that is left."""

    name: str = "delete the word"

    def rewrites(self, words: Words, position: int) -> Sequence[Words]:
        """The text without the word."""
        return [words.deleted(position)] if len(words.words) > 1 else []
