"""Word vectors, their cosines and their neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from robustlab.core.errors import DataError

Matrix: TypeAlias = NDArray[np.float32]
Measure: TypeAlias = Callable[[Matrix, Matrix], NDArray[np.float64]]
"""Numbers (k,) from a vector (d,) and others (k, d)."""
_TOGETHER = 32
"""Words whose neighbours are sought in one product."""
_SLACK = 1e-5
"""Rounding of single precision in a cosine, amply."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Words with a vector each.

    Words are looked up in small letters. Cosines and distances are computed in double precision from the two vectors
    alone and rounded to 9 decimals, so that they do not depend on the other words.

    Args:
        words: V words, each once.
        matrix: their vectors (V, d), float32; may be a file mapped into memory.

    Example:
        >>> found = Vectors(("up", "above", "down"), np.float32([[0, 2], [1, 2], [0, -1]]))
        >>> found.neighbours("Up", 2)
        (('above', 0.894427191), ('down', -1.0))
    """

    words: tuple[str, ...]
    matrix: Matrix
    _near: dict[tuple[str, int], tuple[tuple[str, float], ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or len(self.matrix) != len(self.words):
            raise DataError(f"{len(self.words)} words need as many vectors, got an array {self.matrix.shape}")

    def __contains__(self, word: object) -> bool:
        """True if a word has a vector."""
        return isinstance(word, str) and word.lower() in self._rows

    def vector(self, word: str) -> Matrix | None:
        """The vector (d,) of a word, or None."""
        row = self._rows.get(word.lower())
        return None if row is None else self.matrix[row]

    def cosine(self, one: str, other: str) -> float | None:
        """Cosine of the angle between two words, or None if one has no vector."""
        return _between(_cosines, self.vector(one), self.vector(other))

    def distance(self, one: str, other: str) -> float | None:
        """Squared Euclidean distance of two words, or None if one has no vector."""
        return _between(_distances, self.vector(one), self.vector(other))

    def neighbours(self, word: str, n: int) -> tuple[tuple[str, float], ...]:
        """The n words of largest cosine with theirs, the largest first, ties by word; none for an unknown word."""
        return self.all_neighbours([word], n)[0]

    def all_neighbours(self, words: Sequence[str], n: int) -> list[tuple[tuple[str, float], ...]]:
        """Neighbours of several words, with one pass over all vectors for every 32 of them."""
        lower = [word.lower() for word in words]
        new = [word for word in dict.fromkeys(lower) if word in self._rows and (word, n) not in self._near]
        for start in range(0, len(new), _TOGETHER):
            some = new[start : start + _TOGETHER]
            for word, found in zip(some, self._sought([self._rows[word] for word in some], n), strict=True):
                self._near[word, n] = found
        return [self._near.get((word, n), ()) for word in lower]

    def _sought(self, rows: list[int], n: int) -> list[tuple[tuple[str, float], ...]]:
        roughly = (self.matrix[rows] / self._norms[rows, None]) @ self.matrix.T
        roughly /= self._norms
        return [self._exactly(row, _best(near, n + 1), n) for row, near in zip(rows, roughly, strict=True)]

    def _exactly(self, row: int, near: NDArray[np.intp], n: int) -> tuple[tuple[str, float], ...]:
        """The best n of some rows, by exact cosine."""
        near = near[near != row]
        cosines = _cosines(self.matrix[row], self.matrix[near]).tolist()
        found = [(self.words[other], cosine) for other, cosine in zip(near.tolist(), cosines, strict=True)]
        return tuple(sorted(found, key=lambda one: (-one[1], one[0]))[:n])

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    @cached_property
    def _norms(self) -> Matrix:
        norms: Matrix = np.sqrt(np.einsum("ij,ij->i", self.matrix, self.matrix)).clip(np.finfo(np.float32).tiny)
        return norms


def _best(values: Matrix, n: int) -> NDArray[np.intp]:
    """Positions of the n largest values, and of all that are as large but for rounding."""
    if n >= len(values):
        return np.arange(len(values))
    return np.flatnonzero(values >= np.partition(values, -n)[-n] - _SLACK)


def _between(measure: Measure, one: Matrix | None, other: Matrix | None) -> float | None:
    if one is None or other is None:
        return None
    return float(measure(one, other[None])[0])


def _cosines(one: Matrix, others: Matrix) -> NDArray[np.float64]:
    a, b = one.astype(np.float64), others.astype(np.float64)
    sizes = np.sqrt((a * a).sum() * (b * b).sum(axis=1))
    cosines: NDArray[np.float64] = (a * b).sum(axis=1) / np.where(sizes > 0, sizes, 1.0)
    return cosines.round(9)


def _distances(one: Matrix, others: Matrix) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = ((others.astype(np.float64) - one.astype(np.float64)) ** 2).sum(axis=1)
    return squares.round(9)


@cache
def vectors_in(place: Path) -> Vectors:
    """Word vectors in a folder or file, one copy for all who ask.

    Args:
        place: folder with an array (``*.npy``, mapped into memory) and its words (``*.parquet``, first column); or a
            text file with a word and its numbers per line, as GloVe and counter-fitted vectors are published.

    Raises: DataError if it holds no word vectors.
    """
    if place.is_file():
        return _of_text(place)
    arrays, tables = sorted(place.glob("*.npy")), sorted(place.glob("*.parquet"))
    if len(arrays) != 1 or len(tables) != 1:
        raise DataError(f"{place} holds no word vectors: it needs one .npy file and one .parquet file")
    import pyarrow.parquet

    words = pyarrow.parquet.read_table(tables[0]).column(0).to_pylist()
    return Vectors(tuple(words), np.load(arrays[0], mmap_mode="r", allow_pickle=False))


def _of_text(path: Path) -> Vectors:
    words, rows = [], []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            word, *values = line.rstrip().split(" ")
            if number == 1 and len(values) == 1:
                continue  # word2vec writes the numbers of words and dimensions first
            try:
                rows.append(np.array(values, dtype=np.float32))
            except ValueError as error:
                raise DataError(f"{path} line {number} is no word with its numbers: {error}") from error
            words.append(word)
            if len(rows[-1]) != len(rows[0]):
                raise DataError(f"{path} line {number} has {len(rows[-1])} numbers, the first {len(rows[0])}")
    if not rows:
        raise DataError(f"{path} holds no word vectors")
    return Vectors(tuple(words), np.stack(rows))
