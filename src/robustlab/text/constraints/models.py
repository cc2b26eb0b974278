"""Constraints that call a model: similarity of sentences, parts of speech in context, likelihood of a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robustlab.text.parts import Change
from robustlab.text.passages import passage
from robustlab.text.words import INSERTED, Words

Encode: TypeAlias = Callable[[Sequence[str]], NDArray[Any]]
"""Texts to their vectors (N, d), of any length but 0."""
Tag: TypeAlias = Callable[[Sequence[Sequence[str]]], Sequence[Sequence[str]]]
"""Lists of words to lists of their parts of speech."""
Reference: TypeAlias = Literal["original", "before"]
_DECIMALS = 6
_REMEMBERED = 1 << 13
"""Texts whose vectors are kept: about 12 MB with 384 numbers each."""
_BEFORE, _AFTER = 4, 3
"""Words of the context of a tag."""


@dataclass(frozen=True)
class Similarity:
    """The text stays similar in the eyes of a sentence encoder.

        cosine: u . v / |u| |v|;   angular: 1 - arccos(cosine) / pi

    Args:
        encode: texts to vectors. Each text is encoded once, as long as it is remembered.
        least: similarity.
        window: words around the change that are compared; None: whole texts.
        against: text to compare with: the original, or the one before the change.
        metric: "cosine" or "angular".
        short_passes: texts with fewer words than the window are similar, whatever the encoder says.
        encoder: its name.

    Source: Jin et al., Is BERT Really Robust?, AAAI 2020.
    """

    encode: Encode = field(repr=False)
    least: float
    window: int | None = None
    against: Reference = "original"
    metric: Literal["cosine", "angular"] = "cosine"
    short_passes: bool = False
    encoder: str = "sentence encoder"
    _vectors: dict[str, NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Words for tables."""
        window = "" if self.window is None else f", {self.window} words around"
        before = ", against the text before" if self.against == "before" else ""
        return f"{self.encoder} {self.metric} >= {self.least:g}{window}{before}"

    def judge(self, changes: Sequence[Change]) -> Sequence[bool]:
        """For each change, whether the texts are similar enough."""
        return [one >= self.least for one in self.similarity(changes)]

    def similarity(self, changes: Sequence[Change]) -> Sequence[float]:
        """For each change the similarity of the texts, rounded to 6 decimals."""
        found = [1.0] * len(changes)
        pairs = {n: self._pair(one) for n, one in enumerate(changes) if not self._passes(one)}
        vectors = self._encoded(dict.fromkeys(text for pair in pairs.values() for text in pair))
        for number, (old, new) in pairs.items():
            cosine = float(np.clip(vectors[old] @ vectors[new], -1, 1))
            found[number] = round(
                cosine if self.metric == "cosine" else 1 - float(np.arccos(cosine)) / np.pi, _DECIMALS
            )
        return found

    def _passes(self, change: Change) -> bool:
        return self.short_passes and self.window is not None and len(change.after.words) < self.window

    def _pair(self, change: Change) -> tuple[str, str]:
        """The two texts, or the parts of them around the change."""
        old = change.original if self.against == "original" else change.before
        if self.window is None:
            return old.text, change.after.text
        at = _origin(change) if self.against == "original" else change.position
        return _around(old, at, self.window), _around(change.after, change.position, self.window)

    def _encoded(self, texts: dict[str, None]) -> dict[str, NDArray[np.float64]]:
        """Vectors of length 1 for all texts."""
        known = self._vectors
        new = [text for text in texts if text not in known]
        found = {text: known[text] for text in texts if text in known}
        if new:
            rows = np.asarray(self.encode(new), dtype=np.float64)
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
            found.update(zip(new, rows, strict=True))
        known.update((text, found[text]) for text in new[:_REMEMBERED])
        while len(known) > _REMEMBERED:
            del known[next(iter(known))]
        return found


@dataclass(frozen=True)
class PartOfSpeech:
    """The new word has the part of speech of the original one, each in the context of the original.

    Deleted and inserted words always pass.

    Args:
        tag: words to universal parts of speech: "NOUN", "VERB", "ADJ" and so on.
        noun_verb: nouns and verbs may take each other's place.
        tagger: its name.
    """

    tag: Tag = field(repr=False)
    noun_verb: bool = True
    tagger: str = "tagger"
    _tags: dict[tuple[tuple[str, ...], int], str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"same part of speech{', or noun and verb' if self.noun_verb else ''} ({self.tagger})"

    def judge(self, changes: Sequence[Change]) -> Sequence[bool]:
        """For each change, whether the parts of speech fit."""
        pairs = [_contexts(one) for one in changes]
        tags = self._tagged(dict.fromkeys(one for pair in pairs if pair for one in pair))
        return [pair is None or self._fit(tags[pair[0]], tags[pair[1]]) for pair in pairs]

    def _fit(self, old: str, new: str) -> bool:
        return old == new or (self.noun_verb and {old, new} == {"NOUN", "VERB"})

    def _tagged(self, contexts: dict[tuple[tuple[str, ...], int], None]) -> dict[tuple[tuple[str, ...], int], str]:
        """Parts of speech of words in context."""
        known = self._tags
        new = [one for one in contexts if one not in known]
        found = {one: known[one] for one in contexts if one in known}
        if new:
            tags = self.tag([words for words, _ in new])
            found.update((one, some[one[1]]) for one, some in zip(new, tags, strict=True))
        known.update((one, found[one]) for one in new[:_REMEMBERED])
        while len(known) > _REMEMBERED:
            del known[next(iter(known))]
        return found


@dataclass(frozen=True)
class Likelihood:
    """A language model finds the text about as likely as the original.

    Args:
        score: texts to log-probabilities.
        most: difference of the two, in nats.
        language_model: its name.

    Source: Kuleshov et al., Adversarial Examples for Natural Language Classification Problems, 2018, equation 5.
    """

    score: Callable[[Sequence[str]], Sequence[float]] = field(repr=False)
    most: float
    language_model: str = "language model"

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"log-probability of {self.language_model} within {self.most:g}"

    def judge(self, changes: Sequence[Change]) -> Sequence[bool]:
        """For each change, whether the text is likely enough."""
        texts = list(dict.fromkeys(text for one in changes for text in (one.original.text, one.after.text)))
        scores = dict(zip(texts, self.score(texts), strict=True)) if texts else {}
        return [
            round(abs(scores[one.after.text] - scores[one.original.text]), _DECIMALS) <= self.most for one in changes
        ]


def _origin(change: Change) -> int:
    """Position in the original of the word that was changed; for an inserted one, of the next word that was there."""
    origin = change.before.origin
    after = (at for at in origin[change.position :] if at != INSERTED)
    return next(after, len(change.original.words) - 1)


def _around(words: Words, position: int, size: int) -> str:
    return passage(words, max(0, min(position, len(words.words) - 1)), size)


def _contexts(change: Change) -> tuple[tuple[tuple[str, ...], int], tuple[tuple[str, ...], int]] | None:
    """The original word and the new one with the words around, and their place among these; None: no such pair."""
    at = change.before.origin[change.position] if change.position < len(change.before.words) else INSERTED
    if at == INSERTED or len(change.after.words) != len(change.before.words):
        return None
    whole, start = change.original.words, max(0, at - _BEFORE)
    before, after = whole[start:at], whole[at + 1 : at + 1 + _AFTER]
    place = len(before)
    return ((*before, whole[at], *after), place), ((*before, change.after.words[change.position], *after), place)
