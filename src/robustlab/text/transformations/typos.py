"""Typos: one character of a word swapped, deleted, inserted or replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import ascii_lowercase
from typing import Protocol

from robustlab.core.kinds import typed


class Typo(Protocol):
    """Numbered variants of a word."""

    @property
    def name(self) -> str:
        """Words for tables."""

    def count(self, word: str) -> int:
        """Number of variants."""

    def variant(self, word: str, number: int) -> str:
        """One of them; some may be equal to each other or to the word."""


@typed
@dataclass(frozen=True)
class SwapNeighbours:
    """Two neighbouring characters change places; a word of n characters has n - 1 variants.

    Args:
        inner: the first and the last character stay.

    Example:
        >>> SwapNeighbours().options("film")
        ['iflm', 'flim', 'fiml']
    """

    inner: bool = False

    @property
    def name(self) -> str:
        """Words for tables."""
        return _named("swap neighbours", self.inner)

    def count(self, word: str) -> int:
        """Number of variants."""
        return max(0, len(word) - (3 if self.inner else 1))

    def variant(self, word: str, number: int) -> str:
        """The word with the characters at a place and after it exchanged."""
        at = number + self.inner
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    def options(self, word: str) -> Sequence[str]:
        """All variants, from left to right."""
        return variants(self, word)


@typed
@dataclass(frozen=True)
class DeleteCharacter:
    """One character is left out; a word of n > 1 characters has n variants.

    Args:
        inner: the first and the last character stay.
    """

    inner: bool = False

    @property
    def name(self) -> str:
        """Words for tables."""
        return _named("delete a character", self.inner)

    def count(self, word: str) -> int:
        """Number of variants."""
        return max(0, len(word) - 2) if self.inner else len(word) if len(word) > 1 else 0

    def variant(self, word: str, number: int) -> str:
        """The word without a character."""
        at = number + self.inner
        return word[:at] + word[at + 1 :]

    def options(self, word: str) -> Sequence[str]:
        """All variants, from left to right."""
        return variants(self, word)


@typed
@dataclass(frozen=True)
class InsertCharacter:
    """One character is put before another; a word of n > 1 characters has n places for each new character.

    Args:
        inner: the first and the last character stay, so there are n - 1 places.
        letters: to insert; " " cuts the word in two.
    """

    inner: bool = False
    letters: str = ascii_lowercase

    @property
    def name(self) -> str:
        """Words for tables."""
        what = "space" if self.letters == " " else "letter" if self.letters == ascii_lowercase else "character"
        return _named(f"insert a {what}", self.inner)

    def count(self, word: str) -> int:
        """Number of variants."""
        return len(self.letters) * (len(word) - self.inner) if len(word) > 1 else 0

    def variant(self, word: str, number: int) -> str:
        """The word with a letter put in."""
        at, letter = divmod(number, len(self.letters))
        at += self.inner
        return word[:at] + self.letters[letter] + word[at:]

    def options(self, word: str) -> Sequence[str]:
        """All variants, from left to right and for each place in the order of the letters."""
        return variants(self, word)


@typed
@dataclass(frozen=True)
class SubstituteCharacter:
    """One character is replaced by a letter.

    Args:
        inner: the first and the last character stay.
        letters: to put in its place.
    """

    inner: bool = False
    letters: str = ascii_lowercase

    @property
    def name(self) -> str:
        """Words for tables."""
        return _named("substitute a character", self.inner)

    def count(self, word: str) -> int:
        """Number of variants."""
        return len(self.letters) * (max(0, len(word) - 2) if self.inner else len(word) if len(word) > 1 else 0)

    def variant(self, word: str, number: int) -> str:
        """The word with a letter in the place of a character."""
        at, letter = divmod(number, len(self.letters))
        at += self.inner
        return word[:at] + self.letters[letter] + word[at + 1 :]

    def options(self, word: str) -> Sequence[str]:
        """All variants, from left to right and for each place in the order of the letters."""
        return variants(self, word)


@typed
@dataclass(frozen=True)
class KeyboardNeighbours:
    """One character is replaced by one whose key is next to its own; capitals stay capitals.

    Args:
        inner: the first and the last character stay.
        rows: keys of the layout, from left to right; each row is half a key to the right of the one above it.
    """

    inner: bool = False
    rows: tuple[str, ...] = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

    @property
    def name(self) -> str:
        """Words for tables."""
        return _named("keyboard neighbours", self.inner)

    def count(self, word: str) -> int:
        """Number of variants."""
        return sum(len(keys) for _, keys in self._places(word))

    def variant(self, word: str, number: int) -> str:
        """The word with a neighbouring key in the place of a character."""
        for at, keys in self._places(word):
            if number < len(keys):
                return word[:at] + keys[number] + word[at + 1 :]
            number -= len(keys)
        raise ValueError(f"{word!r} has {self.count(word)} variants: number must be below that")

    def options(self, word: str) -> Sequence[str]:
        """All variants, from left to right."""
        return [word[:at] + key + word[at + 1 :] for at, keys in self._places(word) for key in keys]

    def _places(self, word: str) -> list[tuple[int, str]]:
        """Places of characters that have neighbours, and these."""
        if len(word) < 2:
            return []
        near = neighbours(self.rows)
        places = range(1, len(word) - 1) if self.inner else range(len(word))
        found = [(at, near.get(word[at].lower(), "")) for at in places]
        return [(at, keys.upper() if word[at].isupper() else keys) for at, keys in found if keys]


@dataclass(frozen=True)
class OneOf:
    """One variant of a typo, drawn for each seed, example, place and word; the same each time.

    Args:
        typo: with the variants to draw from.
    """

    typo: Typo

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"{self.typo.name} at random"

    def draws(self, word: str, number: int) -> Sequence[str]:
        """The variant that a random number chooses; the next one where that is the word itself."""
        count = self.typo.count(word)
        for step in range(count):
            if (found := self.typo.variant(word, (number + step) % count)) != word:
                return [found]
        return []


def variants(typo: Typo, word: str) -> list[str]:
    """All variants in the order of their numbers."""
    return [typo.variant(word, number) for number in range(typo.count(word))]


@cache
def neighbours(rows: tuple[str, ...]) -> Mapping[str, str]:
    """For each key those beside, above and below it: at most one key away, with rows half a key apart."""
    at = {key: (column + row / 2, row) for row, keys in enumerate(rows) for column, key in enumerate(keys)}
    return {
        key: "".join(other for other, (u, v) in at.items() if other != key and abs(v - y) <= 1 and abs(u - x) <= 1)
        for key, (x, y) in at.items()
    }


def _named(name: str, inner: bool) -> str:  # noqa: FBT001
    return f"{name} inside" if inner else name
