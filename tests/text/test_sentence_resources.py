"""Sentence encoder and tagger of parts of speech: made ones for the plumbing, the published ones where they are."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from robustlab.core.errors import DataError
from robustlab.data import text_resource
from robustlab.text.encoder import SentenceEncoder, _batches, encoder_in, minilm_bound
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.tagger import tagger_in

pytest.importorskip("transformers")


class Letters:
    """A tokenizer that gives each letter a number."""

    def __call__(self, texts: list[str], *, truncation: bool, max_length: int) -> dict[str, list[list[int]]]:
        assert truncation
        return {"input_ids": [[1, *(2 + ord(c) % 30 for c in text), 1][:max_length] for text in texts]}


@pytest.fixture
def small() -> SentenceEncoder:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    return SentenceEncoder(BertModel(config).train(mode=False), Letters(), longest=40)


TEXTS = ("a film", "", "a good film", "x" * 100, "a film", "a bad film", "b")


def test_embeddings_are_means_of_the_last_layer_of_length_one(small: SentenceEncoder) -> None:
    found = small.encode(TEXTS)
    for text, embedding in zip(TEXTS, found, strict=True):
        ids = torch.tensor(Letters()([text], truncation=True, max_length=40)["input_ids"])
        with torch.no_grad():
            mean = small.model(input_ids=ids).last_hidden_state[0].double().mean(0)
        assert embedding == pytest.approx((mean / mean.norm()).numpy(), abs=1e-6)


def test_embeddings_do_not_depend_on_company_or_order(small: SentenceEncoder) -> None:
    whole = small.encode(TEXTS)
    fresh = SentenceEncoder(small.model, small.tokenizer, longest=40)
    alone = np.concatenate([fresh.encode([text]) for text in reversed(TEXTS)])[::-1]
    assert np.abs(whole - alone).max() < 1e-6
    assert (small.encode(TEXTS[::-1])[::-1] == whole).all()


def test_a_text_is_encoded_once(small: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(Letters, "__call__", _counted(seen))
    small.encode(TEXTS)
    small.similarities([("a film", "b"), ("new", "b")])
    assert sorted(seen) == sorted({*TEXTS, "new"})
    monkeypatch.setattr("robustlab.text.encoder._KEPT", 1)
    small.encode(["other"])
    seen.clear()
    small.encode(["other", "b"])
    assert seen == ["b"]


def _counted(seen: list[str]) -> Callable[..., dict[str, list[list[int]]]]:
    def call(_: Letters, texts: list[str], *, truncation: bool, max_length: int) -> dict[str, list[list[int]]]:
        del truncation, max_length
        seen.extend(texts)
        return {"input_ids": [[1, *(2 + ord(c) % 30 for c in text), 1][:40] for text in texts]}

    return call


def test_nothing_to_encode_gives_no_rows(small: SentenceEncoder) -> None:
    assert small.encode([]).shape == (0, 16)
    assert small.similarities([]) == []
    assert small.similarities([("same", "same")]) == [1.0]


@pytest.mark.parametrize("lengths", [[], [3], [2] * 1000, [2, 2, 3, 9, 9, 10, 40], list(range(1, 300)), [600, 700]])
def test_batches_cover_all_once_with_few_tokens_and_little_padding(lengths: list[int]) -> None:
    found = list(_batches(lengths))
    assert [row for rows in found for row in rows] == list(range(len(lengths)))
    for rows in found:
        longest, shortest = lengths[rows[-1]], lengths[rows[0]]
        assert len(rows) == 1 or (len(rows) * longest <= 512 and longest <= 1.5 * shortest)


@pytest.mark.parametrize(
    ("use", "minilm"), [(0.8, 0.763), (0.75, 0.696), (0.2, 0.15), (-1.0, 0.0), (1.0, 1.0), (0.975, 0.978)]
)
def test_bounds_between_the_measured_ones_are_interpolated(use: float, minilm: float) -> None:
    assert minilm_bound(use) == pytest.approx(minilm, abs=1e-3)


def test_recipes_bound_minilm_where_it_takes_the_place_of_use() -> None:
    use = Ingredients("toy+minilm", ("minilm",), resources=lambda _: Path("."), reads=False)
    assert (use.similarity(0.8).least, use.similarity(0.8).metric) == (0.763, "cosine")
    angular = use.similarity(0.840845, angular=True)
    assert (angular.least, angular.metric) == (0.872, "cosine")
    assert use.similarity(0.8, need="sbert").least == 0.8
    published = Ingredients("toy", given={"use": lambda texts: np.ones((len(texts), 2))}).similarity(0.84, angular=True)
    assert (published.least, published.metric) == (0.84, "angular")


@pytest.mark.slow
def test_as_many_changed_sentences_pass_the_bounds_of_both_encoders() -> None:
    for name in ("minilm", "glove", "wordnet", "movie-sentences"):
        there(name)
    from benchmarks.sentence_similarity import USE_SHARES, pairs

    found = np.array(encoder_in(there("minilm")).similarities(pairs()))
    for bound, share in USE_SHARES.items():
        assert np.mean(found >= minilm_bound(bound)) == pytest.approx(share, abs=0.005)


def there(name: str) -> Path:
    try:
        return text_resource(name, fetch=False)
    except DataError:
        pytest.skip(f"the text resource {name} is not on this machine: robustlab data --text {name}")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


@pytest.mark.usefixtures("offline")
def test_sentences_of_like_meaning_are_near(capfd: pytest.CaptureFixture[str]) -> None:
    encoder = encoder_in(there("minilm"))
    # The README of sentence-transformers prints these for this model.
    one, other, apart = "The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."
    found = encoder.similarities([(one, other), (one, apart), (other, apart)])
    assert found == pytest.approx([0.6660, 0.1046, 0.1411], abs=5e-5)
    assert encoder.encode([one]).shape == (1, 384)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("offline")
def test_words_get_their_part_of_speech_from_their_sentence() -> None:
    pytest.importorskip("spacy")
    tagger = tagger_in(there("tagger"))
    sentences = [
        ["They", "play", "well"],
        ["the", "play", "is", "good"],
        [],
        ["", "😀", "a b"],
        ["They", "play", "well"],
    ]
    found = tagger.tags(sentences)
    assert found[0] == found[4] == ("PRON", "VERB", "ADV")
    assert found[1] == ("DET", "NOUN", "AUX", "ADJ")
    assert [len(tags) for tags in found] == [3, 4, 0, 3, 3]
    assert [tagger.tags([words])[0] for words in sentences] == found
