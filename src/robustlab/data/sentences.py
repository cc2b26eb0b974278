"""Labelled texts in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from robustlab.core.errors import DataError
from robustlab.core.types import Text

Numbers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sentences:
    """Texts with their labels.

    Args:
        texts: N texts; each a string, or a tuple of strings for examples of several fields, all of the same number.
        labels: class numbers (N,), int64.
        ids: names of the examples (N,), int64, each once, such as their line in a file.
        classes: names of the classes.
        name: in reports.

    Raises: DataError for a text that is no string, a label that is no class, or lengths that differ.

    Example:
        >>> found = Sentences(("good", "bad"), np.array([1, 0]), np.array([7, 9]), ("negative", "positive"))
        >>> found.part([1]).texts
        ('bad',)
    """

    texts: tuple[Text, ...]
    labels: Numbers
    ids: Numbers
    classes: tuple[str, ...]
    name: str = "texts"

    def __post_init__(self) -> None:
        if not len(self.texts) == len(self.labels) == len(self.ids):
            sizes = f"{len(self.texts)} texts, {len(self.labels)} labels and {len(self.ids)} ids"
            raise DataError(f"{self.name} has {sizes}: give one of each per example")
        fields = {_fields(self.name, number, text) for number, text in enumerate(self.texts)}
        if len(fields) > 1:
            raise DataError(f"{self.name} has texts of {min(fields)} and of {max(fields)} fields: give all the same")
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
        if len(wrong):
            seen = f"label {self.labels[wrong[0]]} in example {wrong[0]}"
            raise DataError(f"{self.name} has {seen}, but its classes are 0..{len(self.classes) - 1}")
        if len(np.unique(self.ids)) < len(self.ids):
            raise DataError(f"{self.name} has an id twice: give each example its own")

    def __len__(self) -> int:
        return len(self.texts)

    def part(self, rows: Sequence[int] | Numbers | slice, name: str = "") -> Sentences:
        """Some of the examples, by their position, with their ids."""
        chosen = np.arange(len(self))[rows]
        texts = tuple(self.texts[row] for row in chosen.tolist())
        return Sentences(texts, self.labels[chosen], self.ids[chosen], self.classes, name or self.name)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of classes, labels, ids and texts, in their order."""
        digest = hashlib.sha256(repr(self.classes).encode(errors="surrogatepass"))
        for label, number, text in zip(self.labels.tolist(), self.ids.tolist(), self.texts, strict=True):
            digest.update(repr((label, number, text)).encode(errors="surrogatepass"))
        return digest.hexdigest()


def _fields(name: str, number: int, text: object) -> int:
    """Number of fields of a text.

    Raises: DataError if it is no text.
    """
    parts = text if isinstance(text, tuple) else (text,)
    wrong = [part for part in parts if not isinstance(part, str)]
    if wrong or not parts:
        seen = f"{type(wrong[0]).__name__} {str(wrong[0])[:40]!r}" if wrong else "no field"
        raise DataError(f"{name} has {seen} as the text of example {number}: give a string, or a tuple of strings")
    return len(parts)
