"""The sentence classifier: against the BERT of transformers, its tokenizer, and its files."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from robustlab.core import DataError
from robustlab.models import SentenceClassifier, load, save, sentence_classifier
from robustlab.models.sentence_classifier import word_pieces

WORDS = [
    *("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "film", "is", "good", "##ness", "##s", "bad", ",", ".", "!", "a", "e", "##e"),
]
TEXTS = ["The goodness, the films!", "Bad.", "", "a é film is unknownword", "film " * 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights, as transformers saves it."""
    home = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 24,
    }
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes)).save_pretrained(home)
    (home / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return home


def test_it_computes_the_bert_of_transformers(folder: Path) -> None:
    model: Any = sentence_classifier(folder, classes=3, length=16)
    theirs: Any = BertModel.from_pretrained(folder)
    theirs.eval()
    tokens = BertTokenizer(str(folder / "vocab.txt"))
    for texts in (TEXTS, [*pairwise(TEXTS)]):
        both = [*zip(*texts, strict=True)] if isinstance(texts[0], tuple) else [texts]
        given = tokens(*map(list, both), padding=True, truncation=True, max_length=16, return_tensors="pt")
        ids = model.encode(texts)
        assert torch.equal(ids, given["input_ids"])
        with torch.no_grad():
            hidden = theirs(**given).last_hidden_state
            mask = given["attention_mask"][:, :, None]
            expected = model.head((hidden * mask).sum(1) / mask.sum(1))
            torch.testing.assert_close(model(ids), expected, rtol=0, atol=1e-5)
            torch.testing.assert_close(model(model.encode(texts[1:2])), expected[1:2], rtol=0, atol=1e-5)


def test_its_spans_are_those_of_the_pieces(folder: Path) -> None:
    model = sentence_classifier(folder, length=16)
    assert [TEXTS[0][start:end] for _, start, end in model.spans(TEXTS[0])] == [
        *("", "The", "good", "ness", ",", "the", "film", "s", "!", "")
    ]
    assert model.spans(("bad", "A é"))[3:5] == [(1, 0, 1), (1, 2, 3)]
    assert model.lengths(["bad", "film " * 100]) == [3, 102]
    assert model.limit == model.encode(["film " * 100]).shape[1] == 16
    with pytest.raises(ValueError, match="one field or a pair, got 3 fields"):
        model.encode([("a", "b", "c")])


def test_the_seed_decides_the_head_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    first, same, other = (sentence_classifier(folder, length=16, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.head.weight, same.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    assert torch.equal(first.positions.weight, other.positions.weight)


def test_it_comes_back_from_its_file(folder: Path, tmp_path: Path) -> None:
    model = sentence_classifier(folder, length=16)
    save(model, tmp_path / "model.safetensors")
    back = load(tmp_path / "model.safetensors")
    assert isinstance(back, SentenceClassifier)
    assert back.words == tuple(WORDS)
    with torch.no_grad():
        assert torch.equal(back(back.encode(TEXTS)), model(model.encode(TEXTS)))


def test_folders_that_are_no_bert_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lacks config.json and model.safetensors: give the folder of a BERT"):
        sentence_classifier(tmp_path)
    home = shutil.copytree(folder, tmp_path / "copy")
    (home / "vocab.txt").unlink()
    with pytest.raises(DataError, match=r"lacks vocab.txt and tokenizer.json"):
        sentence_classifier(home, length=16)
    word_pieces(WORDS).save(str(home / "tokenizer.json"))
    assert sentence_classifier(home, length=16).words == tuple(WORDS)
    settings = json.loads((home / "config.json").read_text())
    (home / "config.json").write_text(json.dumps({**settings, "model_type": "roberta"}))
    with pytest.raises(DataError, match="no plain BERT \\(model_type is 'roberta', not 'bert'\\)"):
        sentence_classifier(home)
    (home / "config.json").write_text(json.dumps({**settings, "num_hidden_layers": 3}))
    with pytest.raises(DataError, match="damaged or of another model"):
        sentence_classifier(home, length=16)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="5 heads cannot share a width of 16"):
        SentenceClassifier(WORDS, width=16, heads=5)
    with pytest.raises(ValueError, match="3 to 32 here, got 64"):
        SentenceClassifier(WORDS, width=16, heads=4, positions=32)
    with pytest.raises(ValueError, match="must have \\[PAD\\]"):
        SentenceClassifier(WORDS[1:], width=16, heads=4)
