"""A convolutional network on the embeddings of words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustlab.core.kinds import typed
from robustlab.core.types import Logits, Text
from robustlab.models.architecture import described
from robustlab.models.vocabulary import Pieces, lowered_spans, packed, unpacked

PAD, UNKNOWN = 0, 1
"""Numbers of the first two entries of a vocabulary."""
SPECIAL = ("<pad>", "<unk>")
_TOKENS = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[^\sa-z0-9]")
_WIDTHS = (3, 4, 5)
_ROOM = max(_WIDTHS)


class WordCNN(nn.Module):
    """Convolutions over words: embedding, widths 3, 4 and 5, ReLU, maximum over the positions, dense.

    Texts are lowered and cut into words, numbers and single signs. Each is padded or cut to one length whatever else is
    in the batch, so that its logits do not depend on the others.

    Args:
        words: the vocabulary: ``SPECIAL``, then words; or its size, for a network whose vocabulary is loaded later.
        classes: number K of classes.
        width: of an embedding.
        length: number of tokens to which a text is cut or padded.
        filters: of each width.
        letters: bytes of a vocabulary that is loaded later.

    Raises: ValueError for a vocabulary that does not begin with ``SPECIAL``.

    Source: Kim, Convolutional Neural Networks for Sentence Classification, EMNLP 2014; without dropout.
    """

    vocabulary: Tensor

    def __init__(
        self,
        words: Sequence[str] | int,
        classes: int = 2,
        *,
        width: int = 50,
        length: int = 64,
        filters: int = 64,
        letters: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(words, int) and tuple(words[:2]) != SPECIAL:
            raise ValueError(f"the vocabulary must begin with {SPECIAL[0]!r} and {SPECIAL[1]!r}, got {list(words[:2])}")
        size = words if isinstance(words, int) else len(words)
        self.limit = length
        self.register_buffer(
            "vocabulary", torch.zeros(letters, dtype=torch.uint8) if isinstance(words, int) else packed(words)
        )
        self.embeddings = nn.Embedding(size, width, padding_idx=PAD)
        self.convs = nn.ModuleList(nn.Conv1d(width, filters, k, padding=k // 2) for k in _WIDTHS)
        self.head = nn.Linear(filters * len(_WIDTHS), classes)
        self._pieces: tuple[tuple[int, int], Pieces] | None = None
        sizes = {"words": size, "width": width, "length": length, "filters": filters}
        described(self, {"name": "word-cnn", "classes": classes, **sizes, "letters": len(self.vocabulary)})

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary, in the order of the rows of ``embeddings``."""
        return unpacked(self.vocabulary)

    def encode(self, texts: Sequence[Text]) -> Tensor:
        """Numbers of the tokens (N, length), int64: 0 pads, 1 is unknown."""
        pieces, length = self._known(), self.limit
        rows = [pieces.of(_single(text))[:length] for text in texts]
        ids = np.zeros((len(rows), length), np.int64)
        sizes = np.array([len(row) for row in rows], np.int64)
        ids[np.arange(length) < sizes[:, None]] = np.fromiter(
            (i for row in rows for i in row), np.int64, int(sizes.sum())
        )
        return torch.from_numpy(ids)

    def spans(self, text: Text) -> list[tuple[int, int, int]]:
        """Field 0, first character and end of each token, cut."""
        found = [match.span() for match in _TOKENS.finditer(_single(text).lower())][: self.limit]
        return [(0, start, end) for start, end in lowered_spans(found, _single(text))]

    def lengths(self, texts: Sequence[Text]) -> list[int]:
        """Numbers of tokens, uncut."""
        pieces = self._known()
        return [len(pieces.of(_single(text))) for text in texts]

    def forward(self, ids: Tensor) -> Logits:
        """Token numbers (N, L) to logits (N, K)."""
        x = self.embeddings(self._short(ids)).transpose(1, 2)
        found = [conv(x).amax(dim=2).relu() for conv in self.convs]
        logits: Logits = self.head(torch.cat(found, dim=1))
        return logits

    def _short(self, ids: Tensor) -> Tensor:
        """The numbers without most of the columns that pad every row.

        Where the embedding of the padding is 0, all windows in it give the bias alone; one of them is kept.
        """
        used = int((ids != PAD).any(dim=0).nonzero().amax()) + 1 if bool((ids != PAD).any()) else 0
        if used + _ROOM >= ids.shape[1] or bool(self.embeddings.weight[PAD].any()):
            return ids
        return ids[:, : used + _ROOM]

    def _known(self) -> Pieces:
        """Tokens of pieces by the present vocabulary, which loading changes in place."""
        version = (self.vocabulary.data_ptr(), self.vocabulary._version)
        if self._pieces is None or self._pieces[0] != version:
            numbers = {word: number for number, word in enumerate(self.words)}
            self._pieces = (
                version,
                Pieces(lambda piece: tuple(numbers.get(token, UNKNOWN) for token in _TOKENS.findall(piece.lower()))),
            )
        return self._pieces[1]


@typed
def vocabulary_of(texts: Sequence[str], *, least: int = 1, known: Sequence[str] | None = None) -> tuple[str, ...]:
    """The vocabulary of a word CNN: tokens of some texts in alphabetical order, behind ``SPECIAL``.

    Args:
        texts: for training.
        least: times that a word must occur.
        known: words with a vector; others are left out. None: all.
    """
    counts: dict[str, int] = {}
    for text in texts:
        for token in _TOKENS.findall(text.lower()):
            counts[token] = counts.get(token, 0) + 1
    kept = set(counts) if known is None else set(known)
    return (*SPECIAL, *sorted(word for word, count in counts.items() if count >= least and word in kept))


@typed
def word_cnn(
    texts: Sequence[str],
    *,
    vectors: tuple[Sequence[str], NDArray[np.floating]] | None = None,
    classes: int = 2,
    least: int = 2,
    seed: int = 0,
) -> WordCNN:
    """A word CNN with the vocabulary of some texts, to be trained.

    Args:
        texts: for training.
        vectors: words and their published embeddings (V, d), from which those of the same words start; the others are
            drawn with the same spread. None: all are drawn, with 50 dimensions.
        classes: number K of classes.
        least: times that a word must occur.
        seed: of the initial weights; the global random state is not touched.
    """
    words = vocabulary_of(texts, least=least)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = WordCNN(words, classes, width=50 if vectors is None else vectors[1].shape[1])
        rows = {} if vectors is None else {word: row for row, word in enumerate(vectors[0])}
        known = [(place, rows[word]) for place, word in enumerate(words) if word in rows]
        if vectors is not None and known:
            chosen = torch.tensor(np.asarray(vectors[1])[[row for _, row in known]])
            with torch.no_grad():
                model.embeddings.weight[PAD + 1 :].mul_(chosen.std())
                model.embeddings.weight[[place for place, _ in known]] = chosen.to(model.embeddings.weight.dtype)
    return model.eval()


def _single(text: Text) -> str:
    """The only field of a text.

    Raises: ValueError if there are several.
    """
    if isinstance(text, str):
        return text
    if len(text) != 1:
        raise ValueError(f"this model reads texts of one field, got {len(text)} fields")
    return text[0]
