"""Words that a masked language model puts in a gap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from robustlab.text.passages import matched_case, passage
from robustlab.text.words import Words, cut

if TYPE_CHECKING:
    from torch import Tensor

Gap: TypeAlias = Literal["replace", "insert", "merge", "keep"]
_VERBS = {"replace": "replaces", "insert": "puts in", "merge": "puts in the place of two", "keep": "sees and replaces"}
_AROUND = 128
"""Words of a text that the model reads."""
_BATCH = 32
_STEPS = 10**6
"""Decimals of a log-probability, which is rounded so that equal ones are equal."""
_PIECES = 4
"""Largest number of pieces of a word."""
_MARKS = ("Ġ", "▁")


@dataclass(frozen=True)
class MaskedModel:
    """Words that a masked language model proposes for a place in a text, the most probable first.

    Only whole words are proposed, in the case of the word they replace.

    Args:
        model: any Hugging Face masked model.
        tokenizer: that belongs to it.
        count: number of words.
        least: probability that a word must have.
        gap: "replace": the word is masked; "insert": a word is put before it; "merge": it and the next are masked
            together; "keep": the model sees the word, and may propose any number of pieces for its pieces.
        title: name of the model.

    Source: Garg and Ramakrishnan, BAE: BERT-based Adversarial Examples for Text Classification, EMNLP 2020 ("replace",
        "insert"); Li et al., Contextualized Perturbation for Textual Adversarial Attack, NAACL 2021 ("merge"); Li et
        al., BERT-ATTACK, EMNLP 2020 ("keep").
    """

    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    count: int = 50
    least: float = 0.0
    gap: Gap = "replace"
    title: str = "masked model"

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"{self.title} {_VERBS[self.gap]} words, best {self.count}"

    def proposals(self, items: Sequence[tuple[Words, int]]) -> Sequence[Sequence[Words]]:
        """For each text and position the changed texts, the most probable word first."""
        fit = [n for n, (words, position) in enumerate(items) if self._has_gap(words, position)]
        found: list[Sequence[Words]] = [[] for _ in items]
        for start in range(0, len(fit), _BATCH):
            part = fit[start : start + _BATCH]
            for number, new in zip(part, self._words([items[n] for n in part]), strict=True):
                found[number] = [self._changed(*items[number], word) for word in new]
        return found

    def _has_gap(self, words: Words, position: int) -> bool:
        return self.gap != "merge" or position + 1 < len(words.words)

    def _changed(self, words: Words, position: int, word: str) -> Words:
        if self.gap == "insert":
            return words.inserted(position, word)
        if self.gap == "merge":
            words = words.deleted(position + 1)
        return words.replaced(position, matched_case(word, words.words[position]))

    def _text(self, words: Words, position: int) -> str:
        """Input of the model."""
        mask = self.tokenizer.mask_token
        if self.gap == "insert":
            words = words.inserted(position, mask)
        elif self.gap == "merge":
            words = words.deleted(position + 1).replaced(position, mask)
        else:
            words = words.replaced(position, mask)
        return passage(words, position, min(_AROUND, self._limit // 2))

    def _words(self, items: Sequence[tuple[Words, int]]) -> list[list[str]]:
        """Words for each gap."""
        texts = [self._text(*one) for one in items]
        rows = self.tokenizer(texts, truncation=True, max_length=self._limit)["input_ids"]
        gaps = [row.index(self.tokenizer.mask_token_id) if self.tokenizer.mask_token_id in row else -1 for row in rows]
        sizes = [1] * len(rows)
        if self.gap == "keep":
            for number, ((words, position), at) in enumerate(zip(items, gaps, strict=True)):
                pieces = self.tokenizer(words.words[position], add_special_tokens=False)["input_ids"][:_PIECES]
                rows[number][at : at + 1] = pieces
                sizes[number] = len(pieces)
        odds = self._odds(rows)
        return [
            self._best(odds[n][at : at + size]) if at >= 0 else []
            for n, (at, size) in enumerate(zip(gaps, sizes, strict=True))
        ]

    def _odds(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Log-probabilities (N, L, V) of pieces."""
        import torch

        ids = torch.full((len(rows), max(map(len, rows))), self.tokenizer.pad_token_id or 0)
        seen = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            seen[number, : len(row)] = 1
        device, was = next(self.model.parameters()).device, self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                logits = self.model(input_ids=ids.to(device), attention_mask=seen.to(device)).logits
        finally:
            self.model.train(was)
        odds: Tensor = logits.double().log_softmax(-1).cpu()
        return odds

    def _best(self, odds: Tensor) -> list[str]:
        """The most probable words of one or more pieces (P, V); equal ones by the numbers of their pieces."""
        found: list[tuple[int, tuple[int, ...]]] = [(0, ())]
        for number, row in enumerate(odds):
            allowed = range(len(row)) if number else self._starts
            values = row[list(allowed)]
            top = values.topk(min(2 * self.count, len(values)))
            best = sorted(
                (-round(value * _STEPS), allowed[place])
                for value, place in zip(top.values.tolist(), top.indices.tolist(), strict=True)
            )
            longer = [(one - value, (*pieces, new)) for one, pieces in found for value, new in best]
            found = sorted(longer, key=lambda one: (-one[0], one[1]))[: self.count]
        least = _STEPS * math.log(self.least) if self.least > 0 else -math.inf
        words = dict.fromkeys(self._joined(pieces) for value, pieces in found if value >= least)
        return [word for word in words if _single(word)]

    def _joined(self, pieces: Sequence[int]) -> str:
        tokens = self.tokenizer.convert_ids_to_tokens(list(pieces))
        return "".join(token.removeprefix("##").lstrip("".join(_MARKS)) for token in tokens)

    @property
    def _limit(self) -> int:
        """Pieces that the model can read."""
        most = getattr(self.model.config, "max_position_embeddings", self.tokenizer.model_max_length)
        return int(min(most - _PIECES, self.tokenizer.model_max_length, 512))

    @cached_property
    def _starts(self) -> list[int]:
        """Numbers of pieces that are whole words."""
        tokens = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        special = set(self.tokenizer.all_special_ids)
        marked = any(token.startswith(_MARKS) for token in tokens)
        return [
            n
            for n, token in enumerate(tokens)
            if n not in special
            and (token.startswith(_MARKS) if marked else not token.startswith("##"))
            and _single(self._joined([n]))
        ]


def _single(word: str) -> bool:
    """Tests for one word with a letter in it."""
    try:
        return any(map(str.isalpha, word)) and cut(word).words == (word,)
    except ValueError:  # scripts without spaces
        return False
