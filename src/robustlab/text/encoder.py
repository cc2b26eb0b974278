"""Sentence encoder: texts as vectors whose cosine says how alike their meanings are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from robustlab.core.kinds import typed

Embeddings: TypeAlias = NDArray[np.float32]
LONGEST = 256
"""Word pieces of a text that are read, as its authors set it; what comes after them is not seen."""
_TOKENS = 512
"""Word pieces in a batch; measured on two cores."""
_PADDING = 1.5
"""Longest text of a batch over the shortest."""
_KEPT = 50_000
"""Texts whose embedding is kept: 75 MB."""

_EQUAL_SHARES = (
    (0.0, 0.0), (0.5, 0.375), (0.6, 0.476), (0.7, 0.629), (0.8, 0.763), (0.85, 0.84), (0.8776, 0.872), (0.9, 0.902),
    (0.95, 0.955), (1.0, 1.0),
)  # fmt: skip
"""Cosines of USE and of MiniLM that the same share of 500 changed sentences pass: benchmarks/sentence_similarity.py."""


@dataclass(frozen=True, eq=False)
class SentenceEncoder:
    """A transformer whose last layer is averaged over the word pieces of a text, then scaled to length 1.

    Texts of about as many word pieces go through it together, and padding is masked. What was encoded is kept, the
    last 50,000 texts.

    Args:
        model: Hugging Face encoder, in eval mode.
        tokenizer: its own.
        longest: word pieces that are read.
    """

    model: Any
    tokenizer: Any
    longest: int = LONGEST
    _known: OrderedDict[str, Embeddings] = field(default_factory=OrderedDict, init=False, repr=False)

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """Embeddings (N, d) of length 1, float32."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        found = dict(zip(new, self._encoded(new), strict=True)) if new else {}
        rows = [found[text] if text in found else self._known[text] for text in texts]
        for text in texts:
            self._known[text] = found[text] if text in found else self._known[text]
            self._known.move_to_end(text)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return np.stack(rows) if rows else np.zeros((0, self.model.config.hidden_size), np.float32)

    def similarities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Cosines of pairs of texts, to 6 decimals."""
        both = self.encode([text for pair in pairs for text in pair]).astype(np.float64)
        return [round(value, 6) for value in (both[::2] * both[1::2]).sum(axis=1).clip(-1, 1).tolist()]

    def _encoded(self, texts: Sequence[str]) -> list[Embeddings]:
        ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.longest)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        found: dict[int, Embeddings] = {}
        for rows in _batches([len(ids[row]) for row in order]):
            some = [order[at] for at in rows]
            found.update(zip(some, self._forward([ids[row] for row in some]), strict=True))
        return [found[row] for row in range(len(ids))]

    @torch.no_grad()
    def _forward(self, ids: Sequence[list[int]]) -> Embeddings:
        """Embeddings of texts, the longest last."""
        longest, device = len(ids[-1]), self.model.device
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=device)
        hidden = self.model(input_ids=padded, attention_mask=mask).last_hidden_state.float()
        total = (hidden * mask.unsqueeze(-1)).sum(dim=1)
        return np.asarray(torch.nn.functional.normalize(total, dim=1).cpu())


def _batches(lengths: Sequence[int]) -> Iterator[range]:
    """Ranges of ascending lengths, each of few tokens and little padding."""
    start = 0
    for end, length in enumerate(lengths):
        if (end + 1 - start) * length > _TOKENS or length > lengths[start] * _PADDING:
            if end > start:
                yield range(start, end)
            start = end
    if start < len(lengths):
        yield range(start, len(lengths))


@typed
def minilm_bound(use: float) -> float:
    """The bound on MiniLM's cosine that takes the place of one on the cosine of the Universal Sentence Encoder.

    As many of 500 sentences with one to four words replaced pass it. Between the measured bounds it is interpolated.

    Example:
        >>> minilm_bound(0.8), minilm_bound(0.75)
        (0.763, 0.696)
    """
    published, own = np.array(_EQUAL_SHARES).T
    return round(float(np.interp(use, published, own)), 3)


@cache
def encoder_in(folder: Path, device: str = "cpu") -> SentenceEncoder:
    """The encoder in a folder (``config.json``, ``model.safetensors``, ``tokenizer.json``), one for all who ask.

    Nothing is downloaded, and no code of the folder is run.

    Source: Reimers and Gurevych, Sentence-BERT, EMNLP 2019; Wang et al., MiniLM, NeurIPS 2020.
    """
    from transformers import AutoModel, AutoTokenizer

    own = {"local_files_only": True, "trust_remote_code": False}
    with _quiet():
        model = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **own)
    return SentenceEncoder(model.to(device).eval(), AutoTokenizer.from_pretrained(folder, **own))


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading draws no progress bar."""
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if before:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
