"""Maps of words: closed forms on bags of words, completeness, models of several kinds, sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab import text as text_room
from robustlab.core.types import Text
from robustlab.explain import WordMaps, integrate_words, occlude_words
from robustlab.explain.word_maps import by_words, whole_words
from robustlab.models import WordCNN

WEIGHTS = {"good": 2.0, "not": -3.0, "film": 0.5}
TEXTS = ["A good film", "not good, not a film!", "nothing"]


def bag(texts: list[Text]) -> Tensor:
    """Scores (N, 2): the second is the sum of weights of words."""
    sums = [
        sum(
            WEIGHTS.get(word.strip(",.!"), 0.0)
            for word in " ".join(text if isinstance(text, tuple) else (text,)).split()
        )
        for text in texts
    ]
    return torch.tensor([[0.0, value] for value in sums])


@pytest.mark.parametrize("replacement", ["", "[MASK]"])
@pytest.mark.parametrize("form", [bag, lambda texts: bag(texts).numpy(), lambda texts: bag(texts).tolist()])
def test_occlusion_of_a_bag_of_words_is_its_weights(form: Callable[[list[Text]], object], replacement: str) -> None:
    maps = occlude_words(form, TEXTS, torch.tensor([1, 1, 1]), replacement=replacement)
    assert maps.words == (("A", "good", "film"), ("not", "good", "not", "a", "film"), ("nothing",))
    assert [values.tolist() for values in maps.values] == [[0, 2, 0.5], [-3, 2, -3, 0, 0.5], [0]]
    against = occlude_words(form, TEXTS, torch.tensor([1, 1, 1]), replacement=replacement, score="margin")
    assert all(torch.equal(a, b) for a, b in zip(maps.values, against.values, strict=True))
    assert occlude_words(form, TEXTS).target.tolist() == [1, 0, 0]


def test_texts_without_a_word_are_asked_for_once() -> None:
    asked: list[Text] = []

    def scores(texts: list[Text]) -> Tensor:
        asked.extend(texts)
        return bag(texts)

    occlude_words(scores, ["good good", "a  good, film"])
    assert asked == ["good good", "good", "a  good, film", " good, film", "a , film", "a  good,"]


def test_fields_and_other_cuts() -> None:
    maps = occlude_words(
        bag, [("good film", "not good")], torch.tensor([1]), words=lambda text: text_room.cut(text).spans
    )
    assert maps.words == (("good", "film", "not", "good"),)
    assert maps.values[0].tolist() == [2, 0.5, -3, 2]
    assert maps.spans == (((0, 0, 4), (0, 5, 9), (1, 0, 3), (1, 4, 8)),)


@pytest.mark.parametrize("text", ["", " ", "It's (really) good!", "«café» _x_ 1.5", "a-b  c"])
def test_places_of_cut_words(text: str) -> None:
    words = text_room.cut(text)
    assert tuple(text[start:end] for start, end in words.spans) == words.words


class Bag(nn.Module):
    """Sum of the embeddings of words, then a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embeddings, self.head = nn.Embedding(50, 4, padding_idx=0), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embeddings(ids).sum(1))
        return logits


class Own:
    """What ``integrate_words`` asks of a victim, by hand: tokens are runs without spaces."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.embeddings = model, cast(nn.Module, model.embeddings)

    def tokens(self, texts: list[Text]) -> tuple[Tensor, list[list[tuple[int, int, int]]]]:
        rows = [str(text).split() for text in texts]
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
        spans = []
        for n, row in enumerate(rows):
            ids[n, : len(row)] = torch.tensor([1 + sum(map(ord, word)) % 49 for word in row])
            ends = [str(texts[n]).index(row[0]) + sum(map(len, row[: k + 1])) + k for k in range(len(row))]
            spans.append([(0, end - len(word), end) for word, end in zip(row, ends, strict=True)])
        return ids, spans


def test_integrated_gradients_of_a_linear_bag_are_its_weights() -> None:
    model = Bag().double()
    maps = integrate_words(Own(model), TEXTS, torch.tensor([0, 1, 2]), steps=2)
    ids, _ = Own(model).tokens(list(TEXTS))
    expected = (model.embeddings(ids) * model.head.weight[[0, 1, 2], None]).sum(2)
    for values, row in zip(maps.values, expected.tolist(), strict=True):
        assert values.tolist() == pytest.approx(row[: len(values)])
    assert maps.gap is not None
    assert maps.gap.abs().amax() < 1e-12


def victims() -> dict[str, Any]:
    torch.manual_seed(0)
    words = ["<pad>", "<unk>", "a", "good", "film", "not", "and", "!"]
    cnn = WordCNN(words, 3, width=6, length=12, filters=5).eval()
    transformers = pytest.importorskip("transformers")
    pieces = {
        word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "go", "##od", *words[2:]])
    }
    tokenizer = transformers.BertTokenizer(vocab=pieces)
    config = transformers.BertConfig(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, num_labels=3, initializer_range=0.5,
    )  # fmt: skip
    bert = transformers.BertForSequenceClassification(config).eval()
    return {"cnn": text_room.victim(cnn), "bert": text_room.victim(bert, tokenizer=tokenizer)}


@pytest.mark.slow
def test_integrated_gradients_of_our_victims_are_complete() -> None:
    texts: list[Text] = ["a good film!", "not good, and not a film", "good", "unknown words"]
    for name, victim in victims().items():
        before = {key: value.clone() for key, value in victim.gradients.model.state_dict().items()}
        maps = integrate_words(victim.gradients, texts, steps=256)
        assert maps.gap is not None
        assert maps.change is not None
        assert maps.change.abs().amax() > 0.1, name
        assert maps.gap.abs().amax() < 0.005 * maps.change.abs().amax(), name
        assert maps.words[0] == ("a", "good", "film")
        assert torch.equal(maps.target, torch.as_tensor(victim.predict(texts)).argmax(1))
        assert all(torch.equal(before[key], value) for key, value in victim.gradients.model.state_dict().items())
        assert not victim.gradients.embeddings._forward_hooks
        assert all(p.grad is None for p in victim.gradients.model.parameters())
        _alone(victim, texts, maps)


def _alone(victim: Any, texts: list[Text], maps: WordMaps) -> None:  # noqa: ANN401
    """Padding to longer texts of a batch changes nothing."""
    one = integrate_words(victim.gradients, texts[2:3], maps.target[2:3], steps=256)
    assert torch.allclose(one.values[0], maps.values[2], atol=1e-5)


def test_values_of_tokens_are_shared_by_words() -> None:
    spans, tokens = (
        [(0, 0, 4), (0, 5, 9)],
        [(0, 0, 0), (0, 0, 2), (0, 2, 4), (0, 3, 6), (0, 9, 10), (1, 0, 4), (0, 0, 0)],
    )
    values, rest = by_words(spans, tokens, torch.tensor([8.0, 1, 2, 10, 16, 32, 64, 128]))
    assert values.tolist() == [8, 5]
    assert rest == 8 + 16 + 32 + 64 + 128


def test_one_text_without_words() -> None:
    maps = occlude_words(bag, ["!?", "good"])
    assert [values.tolist() for values in maps.values] == [[], [2.0]]
    assert integrate_words(Own(Bag()), ["!?"]).values[0].shape == (0,)
    assert whole_words("!?") == []


def test_sentences() -> None:
    with pytest.raises(ValueError, match="texts must be a list of texts, got one text"):
        occlude_words(bag, "good")
    with pytest.raises(ValueError, match="texts must be a list of texts, got none"):
        occlude_words(bag, [])
    with pytest.raises(ValueError, match="a text must be a string, or a tuple of strings as its fields, got 3"):
        occlude_words(bag, [3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"target must be in 0\.\.1, the victim's classes, got \[2\]"):
        occlude_words(bag, ["good"], torch.tensor([2]))
    with pytest.raises(ValueError, match=r"the victim returned scores \(2,\) for 2 texts"):
        occlude_words(lambda texts: np.zeros(len(texts)), ["good"])
    with pytest.raises(ValueError, match="words must give places in order inside 'good'"):
        occlude_words(bag, ["good"], words=lambda _: [(2, 9)])
    with pytest.raises(ValueError, match="tokens must be a TokenModel or None, got a function"):
        integrate_words(bag, ["good"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="this victim has none: take occlude_words, which works for any victim"):
        integrate_words(None, ["good"])
    twice = Bag()
    twice.forward = lambda ids: twice.head(twice.embeddings(ids).sum(1) + twice.embeddings(ids).sum(1))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="calls its embeddings 2 times in a pass"):
        integrate_words(Own(twice), ["good"])
