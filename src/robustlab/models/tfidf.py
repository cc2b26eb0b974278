"""Logistic regression on word counts, as one fast model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustlab.core.kinds import typed
from robustlab.core.types import Logits, Text
from robustlab.models.architecture import described
from robustlab.models.vocabulary import MOST, packed, unpacked
from robustlab.models.word_cnn import _single

_TOKENS = re.compile(r"\b\w\w+\b")
_FIXED = {
    "lowercase": True,
    "token_pattern": r"(?u)\b\w\w+\b",
    "ngram_range": (1, 1),
    "norm": "l2",
    "use_idf": True,
    "sublinear_tf": False,
    "binary": False,
    "analyzer": "word",
    "tokenizer": None,
    "preprocessor": None,
    "strip_accents": None,
    "stop_words": None,
}
"""Settings of scikit-learn's vectorizer that this model computes."""


class TfidfClassifier(nn.Module):
    """Linear classifier of weighted word counts.

        x = count * idf over the known words, divided by its l2 norm (0 stays 0)
        p(second of two classes) = sigmoid(coef . x + intercept);  more classes: softmax

    Words are runs of two or more letters and digits of the lowered text. All numbers are float64.

    Args:
        words: the vocabulary, or its size for a model that is loaded later.
        classes: number K of classes.
        letters: bytes of a vocabulary that is loaded later.
    """

    vocabulary: Tensor
    idf: Tensor
    coef: Tensor
    intercept: Tensor

    def __init__(self, words: Sequence[str] | int, classes: int = 2, *, letters: int = 0) -> None:
        super().__init__()
        size, rows = words if isinstance(words, int) else len(words), 1 if classes == 2 else classes
        self.register_buffer(
            "vocabulary", torch.zeros(letters, dtype=torch.uint8) if isinstance(words, int) else packed(words)
        )
        self.register_buffer("idf", torch.ones(size, dtype=torch.float64))
        self.register_buffer("coef", torch.zeros(rows, size, dtype=torch.float64))
        self.register_buffer("intercept", torch.zeros(rows, dtype=torch.float64))
        self._tables: tuple[tuple[int, ...], _Tables] | None = None
        described(self, {"name": "tfidf", "classes": classes, "words": size, "letters": len(self.vocabulary)})

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary, in the order of ``idf``."""
        return unpacked(self.vocabulary)

    def forward(self, counts: Tensor) -> Logits:
        """Counts of the words (N, V) to logits (N, K)."""
        x = counts.to(self.idf.dtype) * self.idf
        scores = nn.functional.normalize(x, dim=1) @ self.coef.T + self.intercept
        return scores if scores.shape[1] > 1 else scores * scores.new_tensor([-0.5, 0.5])

    def probabilities(self, texts: Sequence[Text]) -> NDArray[np.float64]:
        """Probabilities (N, K) of texts."""
        tables = self._known()
        return tables.probabilities([_single(text) for text in texts])

    def _known(self) -> _Tables:
        """Tables of the present weights, which loading changes in place."""
        version = tuple(n for b in self.buffers() for n in (b.data_ptr(), b._version))
        if self._tables is None or self._tables[0] != version:
            numbers = {word: number for number, word in enumerate(self.words)}
            idf, coef = self.idf.cpu().numpy(), self.coef.cpu().numpy()
            self._tables = version, _Tables(numbers, idf * idf, (coef * idf).T.copy(), self.intercept.cpu().numpy())
        return self._tables[1]


class _Tables:
    """Sums of a text from those of its pieces between white space, each read once.

    The dot product is a sum over the tokens; the norm needs their counts, which sorted numbers give.
    """

    def __init__(
        self,
        numbers: dict[str, int],
        squares: NDArray[np.float64],
        weights: NDArray[np.float64],
        intercept: NDArray[np.float64],
    ) -> None:
        self.numbers, self.squares, self.weights, self.intercept = numbers, squares, weights, intercept
        self.known: dict[str, tuple[int, ...]] = {}

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities (N, K)."""
        counts, tokens = self.tokens(texts)
        rows = np.repeat(np.arange(len(texts)), counts)
        keys = rows * len(self.numbers) + tokens
        keys.sort()
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        times = np.diff(first, append=len(keys))
        row, word = np.divmod(keys[first], len(self.numbers))
        norms = np.sqrt(np.bincount(row, times * times * self.squares[word], minlength=len(texts)))
        norms[norms == 0] = 1.0
        sums = np.stack(
            [np.bincount(row, times * column[word], minlength=len(texts)) for column in self.weights.T], axis=1
        )
        return _probabilities(sums / norms[:, None] + self.intercept)

    def tokens(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of known words of each text (N,), and their numbers one text after the other."""
        pieces = [text.split() for text in texts]
        flat = list(chain.from_iterable(pieces))
        found = self.numbered(flat)
        sizes = np.fromiter(map(len, found), np.int64, len(found))
        ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
        totals = np.concatenate([[0], np.cumsum(sizes)])[np.concatenate([[0], ends])]
        return np.diff(totals), np.fromiter(chain.from_iterable(found), np.int64, int(totals[-1]))

    def numbered(self, pieces: Sequence[str]) -> list[tuple[int, ...]]:
        """Numbers of the known words in each piece."""
        if len(self.known) > MOST:
            self.known = {}
        found = list(map(self.known.get, pieces))
        for place in [n for n, one in enumerate(found) if one is None] if None in found else []:
            numbers = (self.numbers.get(token, -1) for token in _TOKENS.findall(pieces[place].lower()))
            found[place] = self.known[pieces[place]] = tuple(number for number in numbers if number >= 0)
        return cast("list[tuple[int, ...]]", found)


@typed
def tfidf_of(pipeline: object) -> TfidfClassifier:
    """The model of a fitted pipeline of scikit-learn: TfidfVectorizer, then LogisticRegression.

    Raises: ValueError for other steps, or settings that this model does not compute.
    """
    steps = [step for _, step in getattr(pipeline, "steps", [])]
    kinds = [type(step).__name__ for step in steps]
    if kinds != ["TfidfVectorizer", "LogisticRegression"]:
        raise ValueError(f"expected a pipeline of TfidfVectorizer and LogisticRegression, got {' and '.join(kinds)}")
    vectorizer, regression = cast(Any, steps[0]), cast(Any, steps[1])
    wrong = [
        f"{key}={vectorizer.get_params()[key]!r}"
        for key, value in _FIXED.items()
        if vectorizer.get_params()[key] != value
    ]
    if wrong:
        raise ValueError(f"the vectorizer has {', '.join(wrong)}: give the pipeline itself to robustlab.text.victim")
    words = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get)
    return tfidf_from(words, vectorizer.idf_, regression.coef_, regression.intercept_, classes=len(regression.classes_))


def tfidf_from(
    words: Sequence[str], idf: object, coef: object, intercept: object, *, classes: int = 2
) -> TfidfClassifier:
    """The model with given numbers.

    Args:
        words: the vocabulary (V,).
        idf: weights of the words (V,).
        coef: of the second of two classes (V,) or (1, V), or of each (K, V).
        intercept: (), (1,) or (K,).
        classes: number K of classes.
    """
    model = TfidfClassifier(words, classes)
    for name, value in (("idf", idf), ("coef", coef), ("intercept", intercept)):
        buffer: Tensor = getattr(model, name)
        buffer.copy_(torch.as_tensor(np.asarray(value, np.float64)).reshape(buffer.shape))
    return model


@typed
def fit_tfidf(
    texts: Sequence[str], labels: Sequence[int] | Tensor, *, c: float = 4.0, classes: int = 2
) -> TfidfClassifier:
    """Fits a logistic regression on word counts, with scikit-learn.

    Args:
        texts: for training.
        labels: class numbers (N,).
        c: inverse strength of the l2 penalty.
        classes: number K of classes; each must occur.

    Raises: ValueError if a class has no text.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    y = np.asarray(labels)
    missing = sorted(set(range(classes)) - set(y.tolist()))
    if missing:
        raise ValueError(
            f"there is no text of class {missing[0]} among {len(y)}: fit_tfidf needs some of each of {classes}"
        )
    return tfidf_of(make_pipeline(TfidfVectorizer(), LogisticRegression(C=c, max_iter=1000)).fit(list(texts), y))


def _probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (N, K) of the scores (N, 1) of the second of two classes, or of all (N, K)."""
    if scores.shape[1] == 1:
        with np.errstate(over="ignore"):
            p = 1 / (1 + np.exp(-scores[:, 0]))
        return np.stack([1 - p, p], axis=1)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return cast("NDArray[np.float64]", powers / powers.sum(axis=1, keepdims=True))
