"""Own classifiers of texts: against scikit-learn and plain formulas, and in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

from robustlab.core import CheckpointError, DataError
from robustlab.data import movie_sentences
from robustlab.models import (
    TfidfClassifier,
    WordCNN,
    fit_tfidf,
    load,
    save,
    tfidf_from,
    tfidf_of,
    vocabulary_of,
)

REFERENCE = Path(__file__).parents[1] / "text" / "reference"
TEXTS = [
    "A good, warm film.",
    "bad and dull, bad!",
    "the good and the bad and the dull",
    "  Odd\u00a0spacing\tand\nlines  ",
    "",
    "!!! ...",
    "it's Mary's l'été naïve ΣΑΣ İstanbul x-ray under_score",
    "warm 007 😀 dull",
]
LABELS = [1, 0, 0, 1, 0, 1, 1, 0]


@pytest.mark.parametrize("labels", [LABELS, [0, 1, 2, 3, 0, 1, 2, 3]])
def test_tfidf_gives_the_probabilities_of_the_pipeline(labels: list[int]) -> None:
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression(C=4)).fit(TEXTS, labels)
    model = tfidf_of(pipeline)
    unseen = [*TEXTS, "good good good unknown", "Unknown only", "sigma σας ας", "a\x1cgood\x85bad"]
    np.testing.assert_allclose(model.probabilities(unseen), pipeline.predict_proba(unseen), rtol=0, atol=1e-12)
    again = model.probabilities(unseen[::-1])[::-1]
    np.testing.assert_array_equal(again, model.probabilities(unseen))


def test_tfidf_as_a_module_gives_the_same_probabilities() -> None:
    model = fit_tfidf(TEXTS, LABELS)
    counts = torch.tensor([[text.lower().split().count(word) for word in model.words] for text in TEXTS[2:3]])
    probabilities = model(counts.double()).softmax(1)
    np.testing.assert_allclose(probabilities.numpy(), model.probabilities(TEXTS[2:3]), rtol=0, atol=1e-12)


def test_tfidf_sees_new_weights() -> None:
    model = tfidf_from(["bad", "good"], [1.0, 1.0], [-1.0, 1.0], 0.0)
    assert model.probabilities(["good"])[0, 1] == pytest.approx(1 / (1 + np.exp(-1.0)))
    model.load_state_dict({**model.state_dict(), "intercept": torch.tensor([2.0])})
    assert model.probabilities(["good"])[0, 1] == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_tfidf_refuses_pipelines_that_it_does_not_compute() -> None:
    pairs = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression()).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match=r"ngram_range=\(1, 2\).*robustlab.text.victim"):
        tfidf_of(pairs)
    with pytest.raises(ValueError, match=r"got TfidfVectorizer$"):
        tfidf_of(make_pipeline(TfidfVectorizer()))
    with pytest.raises(ValueError, match="no text of class 1"):
        fit_tfidf(TEXTS, [0] * len(TEXTS))


def reference_cnn() -> tuple[WordCNN, dict[str, torch.Tensor]]:
    words = json.loads((REFERENCE / "victim_b_vocab.json").read_text())
    arrays = np.load(REFERENCE / "victim_b.npz")
    weights = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    model = WordCNN(words)
    renamed = {name.replace("emb.", "embeddings.").replace("fc.", "head."): value for name, value in weights.items()}
    model.load_state_dict({"vocabulary": model.vocabulary, **renamed})
    return model.eval(), weights


def test_the_word_cnn_computes_what_the_reference_describes() -> None:
    model, weights = reference_cnn()
    numbers = {word: n for n, word in enumerate(model.words)}
    rows = []
    for words in (["the", "film", "is", "n't", "good"], ["it's", "zzzz", "!"], [], ["good", "."] * 40):
        ids = [numbers.get(word, 1) for word in words][:64]
        x = weights["emb.weight"][torch.tensor(ids + [0] * (64 - len(ids)))].T[None]
        found = [
            nn.functional.conv1d(x, weights[f"convs.{n}.weight"], weights[f"convs.{n}.bias"], padding=k // 2)
            for n, k in enumerate((3, 4, 5))
        ]
        features = torch.cat([one.relu().amax(2) for one in found], 1)
        rows.append(nn.functional.linear(features, weights["fc.weight"], weights["fc.bias"]))
    texts = ["The film is n't good", "it's ZZZZ!", "", "good. " * 40]
    with torch.no_grad():
        torch.testing.assert_close(model(model.encode(texts)), torch.cat(rows), rtol=0, atol=1e-5)


def test_the_word_cnn_gives_a_text_the_same_logits_in_any_batch() -> None:
    model, _ = reference_cnn()
    texts = ["good", "a long " * 40, "dull and bad"]
    with torch.no_grad():
        together = model(model.encode(texts))
        alone = torch.cat([model(model.encode([text])) for text in texts])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
    with torch.no_grad():
        model.embeddings.weight[0] = 0.1  # padding that counts: nothing may be left out then
        both = torch.cat([model(model.encode(["good"])), model(model.encode(texts))[:1]])
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-5)


def test_the_word_cnn_places_its_tokens_in_the_text() -> None:
    model = WordCNN(vocabulary_of(["it's good"]))
    text = "İt's  GOOD!"
    assert [text[start:end] for _, start, end in model.spans(text)] == ["İ", "İ", "t's", "GOOD", "!"]
    assert model.encode(["It's good ... "])[0, :6].tolist() == [3, 2, 1, 1, 1, 0]
    with pytest.raises(ValueError, match="texts of one field, got 2 fields"):
        model.encode([("one", "two")])


def test_vocabularies_keep_what_occurs_often_enough_and_is_known() -> None:
    texts = ["b a a", "a c", "\ud83d\ude00 c"]
    assert vocabulary_of(texts, least=2) == ("<pad>", "<unk>", "a", "c")
    assert vocabulary_of(texts, known=["c", "x"]) == ("<pad>", "<unk>", "c")
    with pytest.raises(ValueError, match="must begin with '<pad>' and '<unk>'"):
        WordCNN(["a", "b"])
    with pytest.raises(ValueError, match="the word 'a' twice"):
        WordCNN(["<pad>", "<unk>", "a", "a"])


@pytest.mark.slow
@pytest.mark.parametrize("model", [WordCNN(vocabulary_of(TEXTS), 3, width=8), fit_tfidf(TEXTS, LABELS)])
def test_text_models_come_back_from_files(model: WordCNN | TfidfClassifier, tmp_path: Path) -> None:
    save(model, tmp_path / "model.safetensors")
    back = load(tmp_path / "model.safetensors")
    assert isinstance(back, type(model))
    assert back.words == model.words
    assert {name: value.tolist() for name, value in back.state_dict().items()} == {
        name: value.tolist() for name, value in model.state_dict().items()
    }


def test_text_models_are_not_made_by_name_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"word-cnn reads texts with the vocabulary of its training: give the file"):
        load("word-cnn", classes=2)
    save(fit_tfidf(TEXTS, LABELS), tmp_path / "model.safetensors")
    with pytest.raises((ValueError, CheckpointError), match="tfidf reads texts, which have no size: leave it out"):
        load(tmp_path / "model.safetensors", size=28)


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("a", "train", 0.9627),
        ("a", "validation", 0.7824),
        ("a", "test", 0.7966),
        ("b", "validation", 0.7862),
        ("b", "test", 0.8079),
    ],
)
def test_the_reference_models_have_their_accuracies(name: str, split: Any, expected: float) -> None:  # noqa: ANN401
    try:
        sentences = movie_sentences(split)
    except DataError as error:
        pytest.skip(str(error))
    if name == "a":
        arrays, words = np.load(REFERENCE / "victim_a.npz"), json.loads((REFERENCE / "victim_a_terms.json").read_text())
        rows = tfidf_from(words, arrays["idf"], arrays["coef"], arrays["intercept"]).probabilities(sentences.texts)
    else:
        model, _ = reference_cnn()
        with torch.no_grad():
            rows = torch.cat([model(ids) for ids in model.encode(sentences.texts).split(128)]).numpy()
    assert (rows.argmax(1) == sentences.labels).mean() == pytest.approx(expected, abs=5e-5)
