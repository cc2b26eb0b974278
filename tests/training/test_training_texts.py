"""Training of text models through the loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robustlab.data import Sentences
from robustlab.models import SentenceClassifier, WordCNN, load, word_cnn
from robustlab.runs.progress import Progress
from robustlab.training import Settings, adamw, fit, standard
from robustlab.training.texts import accuracy_on, tokens

GOOD, BAD = ("good", "great", "fine", "warm"), ("bad", "dull", "poor", "cold")
TEXTS = [f"a {one} and {two} film" for words in (GOOD, BAD) for one in words for two in words]
DATA = Sentences(tuple(TEXTS), np.repeat([1, 0], 16), np.arange(32), ("negative", "positive"), "toy films")
SETTINGS = Settings(epochs=3, batch_size=8, optimizer=adamw(0.01), device="cpu")


def bert() -> SentenceClassifier:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "and", "film", *GOOD, *BAD]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SentenceClassifier(words, width=8, layers=1, heads=2, inner=16, positions=16, length=16)


@pytest.mark.parametrize("make", [lambda: word_cnn(TEXTS, seed=1), bert], ids=["cnn", "bert"])
def test_text_models_learn_by_the_loop(make: object) -> None:
    assert callable(make)
    model = make()
    history = fit(model, standard(), tokens(model, DATA), replace(SETTINGS, epochs=10), validate=accuracy_on(DATA))
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["validation_accuracy"][-1] == 1.0
    assert accuracy_on(DATA)(model)["accuracy"] == 1.0


def test_a_stopped_training_of_texts_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, halves = word_cnn(TEXTS), word_cnn(TEXTS)
    fit(whole, standard(), tokens(whole, DATA), SETTINGS)

    def stop(progress: Progress) -> None:
        if progress.summary is not None and progress.summary["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(halves, standard(), tokens(halves, DATA), SETTINGS, out=tmp_path, progress=stop)
    again = word_cnn(TEXTS)
    history = fit(again, standard(), tokens(again, DATA), replace(SETTINGS, resume=True), out=tmp_path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())
    assert history.checkpoint is not None
    back = load(history.checkpoint / "model.safetensors")
    assert isinstance(back, WordCNN)
    assert torch.equal(back(back.encode(TEXTS)), again(again.encode(TEXTS)))


def test_embeddings_start_from_published_vectors() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    vectors.setflags(write=False)  # as of a file that is mapped into memory
    model = word_cnn(TEXTS, vectors=(["good", "unseen", "bad", "film"], vectors))
    rows = {word: row for row, word in enumerate(model.words)}
    for word, row in (("good", 0), ("bad", 2), ("film", 3)):
        np.testing.assert_array_equal(model.embeddings.weight[rows[word]].detach().numpy(), vectors[row])
    assert not model.embeddings.weight[0].any()
    assert "unseen" not in rows
    assert torch.equal(model.head.weight, word_cnn(TEXTS, vectors=(["good", "bad"], vectors[:2])).head.weight)
