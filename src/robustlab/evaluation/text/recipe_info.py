"""Recipes as data: every part of an attack in words, for manifests, reports and comparisons."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass

import numpy as np

from robustlab.text import TextRecipe

_LONGEST = 120
"""Characters of the value of one field; longer ones are named by their digest."""
_PARTS = ("goal", "transformations", "constraints", "search", "lazy")


@dataclass(frozen=True)
class RecipeInfo:
    """One recipe of an evaluation with all its parts, each as a value in words."""

    name: str
    goal: str
    transformations: tuple[str, ...]
    constraints: tuple[str, ...]
    search: str
    lazy: bool
    """Costly constraints are checked after the victim, for the best candidates first."""
    source: str = ""
    difference: str = ""
    """Difference from the source, in one line; empty: none."""

    def differs(self, other: RecipeInfo) -> tuple[str, ...]:
        """Names of the parts in which another recipe differs."""
        return tuple(name for name in _PARTS if getattr(self, name) != getattr(other, name))

    def comparable(self, other: RecipeInfo) -> bool:
        """Tests that another recipe differs in nothing but the search."""
        return set(self.differs(other)) <= {"search"}


def recipe_info(recipe: TextRecipe) -> RecipeInfo:
    """A recipe in words."""
    return RecipeInfo(
        name=recipe.name,
        goal=described(recipe.goal),
        transformations=tuple(map(described, recipe.transformations)),
        constraints=tuple(map(described, recipe.constraints)),
        search=described(recipe.search),
        lazy=recipe.lazy,
        source=recipe.source,
        difference=recipe.difference,
    )


def described(part: object) -> str:
    """A part of a recipe in words: its type and the values of its fields; equal parts give equal words.

    Long values, such as lists of words and word vectors, are named by their digest.
    """
    name = type(part).__name__
    if not is_dataclass(part):
        own = getattr(part, "name", "")
        return f"{name}({own})" if isinstance(own, str) and own else name
    shown = [f for f in fields(part) if f.compare and f.init and f.name != "name"]  # others may hold what was computed
    values = [f"{f.name}={_value(getattr(part, f.name))}" for f in shown]
    return f"{name}({', '.join(values)})"


def _value(value: object) -> str:
    for sign in ("digest", "sha256"):
        known = getattr(value, sign, None)
        if isinstance(known, str) and known:
            return f"{type(value).__name__}({known[:16]})"
    words = _shown(value)
    if len(words) <= _LONGEST:
        return words
    sha256 = hashlib.sha256()
    for piece in _content(value):
        sha256.update(piece)
    size = f"{len(value)} entries, " if isinstance(value, Sequence | Mapping | set | frozenset) else ""
    return f"{type(value).__name__}({size}{sha256.hexdigest()[:16]})"


def _shown(value: object) -> str:
    """A value in words, in an order of its own and without addresses."""
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_shown, value)))}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_shown, value))})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_shown(key)}: {_shown(item)}' for key, item in value.items())}}}"
    if isinstance(value, str | int | float | bool | bytes) or value is None:
        return repr(value)
    if isinstance(value, np.ndarray):
        return f"array{value.shape} {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]}"
    if is_dataclass(value):
        return described(value)
    name = getattr(value, "__qualname__", type(value).__name__)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(name))


def _content(value: object) -> Iterator[bytes]:
    if isinstance(value, tuple | list):
        for one in value:
            yield _shown(one).encode() + b"\0"
    else:
        yield _shown(value).encode()
