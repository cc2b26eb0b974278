"""``robustlab text train``: each model on a small file, what is written, and options that do not fit."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from robustlab import data
from robustlab.models import SentenceClassifier, TfidfClassifier, WordCNN, load, save, word_cnn
from robustlab.training import latest

Command = Callable[..., Any]
WORDS = {"good": ("good", "great", "fine", "warm"), "bad": ("bad", "dull", "poor", "cold")}
ROWS = [(f"a {one} and {two} film", label) for label, words in WORDS.items() for one in words for two in words]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A table of 32 texts of two classes."""
    with (tmp_path / "films.csv").open("w", newline="") as place:
        csv.writer(place).writerows([("text", "label"), *ROWS])
    return f"csv:{tmp_path / 'films.csv'}"


def result(done: Any) -> dict[str, Any]:  # noqa: ANN401
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_word_counts_are_fitted_at_once(command: Command, file: str, tmp_path: Path) -> None:
    found = result(
        command("text", "train", "--model", "tfidf", "--data", file, "--out", str(tmp_path / "run"), "--json")
    )
    assert found["accuracy"]["train"] == 1.0
    model = load(found["model"])
    assert isinstance(model, TfidfClassifier)
    assert model.probabilities(["great film", "dull film"]).argmax(1).tolist() == [1, 0]


def test_a_file_is_trained_further_and_resumed(command: Command, file: str, tmp_path: Path) -> None:
    save(word_cnn([text for text, _ in ROWS]), tmp_path / "first.safetensors")
    words = ["text", "train", "--model", str(tmp_path / "first.safetensors"), "--data", file, "--json"]
    words += ["--batch-size", "8", "--learning-rate", "0.01", "--recipe", "adversarial-text", "--fraction", "1"]
    whole = result(command(*words, "--epochs", "3", "--out", str(tmp_path / "run")))
    assert [epoch["epoch"] for epoch in whole["epochs"]] == [1, 2, 3]
    assert "adversarial_accuracy" in whole["epochs"][-1]
    weights = load(whole["model"]).state_dict()
    kept = latest(tmp_path / "run")
    assert kept is not None
    for path in kept.iterdir():
        path.unlink()
    kept.rmdir()
    result(command(*words, "--epochs", "3", "--out", str(tmp_path / "run")))
    assert all(torch.equal(value, weights[name]) for name, value in load(whole["model"]).state_dict().items())


def test_a_cnn_starts_from_word_vectors(
    command: Command, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{word} {' '.join(map(str, np.arange(5) + n))}" for n, word in enumerate(["good", "bad", "film"])]
    (tmp_path / "vectors.txt").write_text("\n".join(lines))
    monkeypatch.setattr(data, "text_resource", lambda name, **_: {"glove": tmp_path / "vectors.txt"}[name])
    words = ["--data", file, "--epochs", "1", "--learning-rate", "0", "--out", str(tmp_path / "run"), "--json"]
    model = load(result(command("text", "train", "--model", "cnn", *words))["model"])
    assert isinstance(model, WordCNN)
    assert model.embeddings.weight[model.words.index("film")].tolist() == [2, 3, 4, 5, 6]


def test_a_sentence_encoder_is_fine_tuned_on_pairs(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "and", "film", *WORDS["good"], *WORDS["bad"]]
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=64, **sizes)).save_pretrained(
        tmp_path / "bert"
    )
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(pieces))
    monkeypatch.setattr(data, "text_resource", lambda name, **_: {"minilm": tmp_path / "bert"}[name])
    with (tmp_path / "pairs.csv").open("w", newline="") as place:
        csv.writer(place).writerows(
            [("premise", "hypothesis", "label"), *[(text, text, label) for text, label in ROWS]]
        )
    words = ["--epochs", "2", "--data", f"csv:{tmp_path / 'pairs.csv'}", "--text-column", "premise,hypothesis"]
    found = result(command("text", "train", "--model", "minilm", *words, "--out", str(tmp_path / "run"), "--json"))
    assert isinstance(load(found["model"]), SentenceClassifier)
    assert set(found["accuracy"]) == {"train", "validation"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model lstm", "--model is tfidf, cnn, minilm or the file of a text model, got 'lstm'"),
        ("--model tfidf --epochs 3 --recipe adversarial-text", "--recipe, --epochs has no effect, as tfidf is fitted"),
        ("--model tfidf --data imdb", "--data is movie-sentences or csv:FILE, got 'imdb'"),
        ("--model tfidf --data csv:nowhere.csv", "nowhere.csv cannot be read"),
        ("--model FILE --recipe trades", "--recipe is standard or adversarial-text, got 'trades'"),
        ("--model FILE --fraction 0.5", "--fraction has no effect, as the recipe standard attacks nothing"),
        ("--model FILE --recipe adversarial-text --fraction 2", "--fraction is the part of the texts"),
        ("--model FILE --recipe adversarial-text --attack sharks", "sharks"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    command: Command, file: str, tmp_path: Path, words: str, message: str
) -> None:
    save(word_cnn([text for text, _ in ROWS]), tmp_path / "first.safetensors")
    typed = words.replace("FILE", str(tmp_path / "first.safetensors")).split()
    done = command("text", "train", "--data", file, *typed)
    assert done.code == 2
    assert message in " ".join(done.err.split())
