"""Synonyms from the files of WordNet."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from robustlab.text.words import cut

# Endings that WordNet's own program takes off, and what it puts in their place.
_ENDINGS = {
    "noun": (("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
             ("men", "man"), ("ies", "y")),
    "verb": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}  # fmt: skip


class _Part(NamedTuple):
    """The files of one part of speech."""

    lines: tuple[bytes, ...]
    """Lines of the index, by alphabet: a word, and the places of its senses."""
    data: bytes
    irregular: dict[str, tuple[str, ...]]
    """Base forms, as "went": ("go",)."""

    def senses(self, word: str) -> list[int]:
        """Places in the data, none for an unknown word."""
        start = f"{word} ".encode(errors="replace")
        at = bisect_left(self.lines, start)
        if " " in word or at == len(self.lines) or not self.lines[at].startswith(start):
            return []
        columns = self.lines[at].split()
        return [int(place) for place in columns[-int(columns[2]) :]]

    def words(self, place: int) -> list[str]:
        """Words of the set of synonyms at a place; "_" is a space."""
        columns = self.data[place : self.data.index(b"\n", place)].split()
        count = int(columns[3], 16)
        return [word.decode("latin-1").partition("(")[0] for word in columns[4 : 4 + 2 * count : 2]]


@dataclass(frozen=True)
class WordNet:
    """The dictionary in a folder.

    Args:
        folder: with ``index.noun``, ``data.noun``, ``noun.exc`` and those of verb, adj and adv.
    """

    folder: Path
    _found: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Single words that share a sense with a word or with one of its base forms, by code point.

        Capitals of the word do not matter, those of synonyms are the dictionary's; the word itself is left out, and so
        are words of several parts ("a.k.a.", "in_love").
        """
        if word not in self._found:
            every = {one for part, base in self._bases(word.lower()) for one in _synonyms(part, base)}
            self._found[word] = tuple(sorted(one for one in every if one != word and _is_single(one)))
        return self._found[word]

    def _bases(self, word: str) -> Iterator[tuple[_Part, str]]:
        """The word and its base forms, as far as each part of speech may know them."""
        for name, part in self._parts.items():
            regular = tuple(word.removesuffix(old) + new for old, new in _ENDINGS[name] if word.endswith(old))
            for base in dict.fromkeys((word, *part.irregular.get(word, regular))):
                yield part, base

    @cached_property
    def _parts(self) -> dict[str, _Part]:
        return {name: _part(self.folder, name) for name in _ENDINGS}


def _part(folder: Path, name: str) -> _Part:
    lines = (folder / f"index.{name}").read_bytes().split(b"\n")
    forms = [line.split() for line in (folder / f"{name}.exc").read_text("ascii").splitlines()]
    irregular = {form[0]: tuple(form[1:]) for form in forms}
    # Lines of the licence begin with a space.
    return _Part(tuple(line for line in lines if line[:1].strip()), (folder / f"data.{name}").read_bytes(), irregular)


def _synonyms(part: _Part, word: str) -> Iterator[str]:
    for place in part.senses(word):
        yield from part.words(place)


@cache
def _is_single(word: str) -> bool:
    return "_" not in word and len(cut(word).words) == 1


@cache
def wordnet_in(folder: Path) -> WordNet:
    """The dictionary in a folder, one for all who ask."""
    return WordNet(folder)
