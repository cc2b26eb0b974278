"""Padding that counts, and texts that are longer than a victim reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.core import DataError, Text
from robustlab.data import movie_sentences
from robustlab.models import WordCNN, fit_tfidf
from robustlab.text.victims import Victim, beyond, padding_faults, victim

REFERENCE = Path(__file__).parent / "reference"
TEXTS = ["good", "a dull film", "bad , bad , bad", "the acting is not good at all , and the plot is worse", "!", ""]


def cnn() -> WordCNN:
    """The word CNN of the reference."""
    arrays = np.load(REFERENCE / "victim_b.npz")
    model = WordCNN(json.loads((REFERENCE / "victim_b_vocab.json").read_text()))
    names = {name: name.replace("emb.", "embeddings.").replace("fc.", "head.") for name in arrays.files}
    weights = {own: torch.from_numpy(arrays[name]) for name, own in names.items()}
    model.load_state_dict({"vocabulary": model.vocabulary, **weights})
    return model.eval()


class ToLongest(nn.Module):
    """The same network on texts that are padded to the longest of their batch."""

    def __init__(self, model: WordCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        x = self.model.embeddings(ids).transpose(1, 2)
        logits: Tensor = self.model.head(torch.cat([conv(x).amax(2).relu() for conv in self.model.convs], 1))
        return logits

    def encode(self, texts: Sequence[Text]) -> Tensor:
        ids = self.model.encode(texts)
        return ids[:, : max(5, int((ids != 0).sum(1).max()))]


def to_longest() -> Victim:
    made = ToLongest(cnn())
    return victim(made, tokenizer=made.encode)


@pytest.mark.parametrize("found", [victim(cnn()), victim(cnn().double()), victim(fit_tfidf(TEXTS, [1, 0] * 3))])
def test_sound_victims_have_no_faults(found: Victim) -> None:
    faults = padding_faults(found, TEXTS)
    assert not faults
    assert (faults.checked, faults.classes) == (6, ())
    assert faults.largest <= faults.tolerance


def test_padding_to_the_longest_of_a_batch_is_found() -> None:
    found = to_longest()
    faults = padding_faults(found, TEXTS)
    longest = 3
    assert longest not in faults.rows
    assert 2 in faults.rows
    change = np.abs(found.predict(TEXTS) - np.concatenate([found.predict([text]) for text in TEXTS])).max(1)
    assert faults.largest == pytest.approx(change.max(), rel=1e-4)
    assert faults.rows == tuple(np.flatnonzero(change > faults.tolerance).tolist())


@pytest.mark.slow
def test_on_the_movie_sentences_it_changes_classes() -> None:
    try:
        sentences = movie_sentences("test").part(slice(200))
    except DataError as error:
        pytest.skip(str(error))
    found = to_longest()
    faults = padding_faults(found, sentences.texts)
    alone = np.concatenate([found.predict([text]) for text in sentences.texts])
    sound = victim(cnn()).predict(sentences.texts)
    wrong = [int((rows.argmax(1) != sentences.labels).sum()) for rows in (sound, found.predict(sentences.texts), alone)]
    assert wrong[0] == 37
    assert len(faults) > 100
    assert not padding_faults(victim(cnn()), sentences.texts)
    assert len(set(wrong)) > 1 or faults.classes


def test_tokens_beyond_the_limit_are_counted() -> None:
    found = victim(cnn())
    assert beyond(found, ["word " * 64, "word " * 70, ""]) == [0, 6, 0]
    assert beyond(victim(fit_tfidf(TEXTS, [1, 0] * 3)), ["word " * 100]) == [0]
    assert beyond(found, []) == []
    assert padding_faults(found, []).checked == 0


def test_a_rounded_difference_is_no_fault() -> None:
    def function(texts: list[Text]) -> Tensor:
        noise = 1e-6 * len(texts)
        return torch.tensor([[0.5 - noise, 0.5 + noise]] * len(texts))

    assert not padding_faults(victim(function), TEXTS)
    worse = victim(lambda texts: torch.tensor([[0.5 - 0.01 / len(texts), 0.5 + 0.01 / len(texts)]] * len(texts)))
    assert len(padding_faults(worse, TEXTS)) == 6
