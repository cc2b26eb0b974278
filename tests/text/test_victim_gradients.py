"""Gradients of words: a closed form, finite differences, and no trace on the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.core import Text
from robustlab.models import SentenceClassifier, WordCNN, vocabulary_of
from robustlab.text import cut
from robustlab.text.victims import Victim, victim

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "the",
    "film",
    "was",
    "good",
    "##ness",
    "dull",
    ",",
    "!",
    "-",
    "'",
    "s",
    "well",
]


class Bag(nn.Module):
    """Mean of the embeddings of lower-case letters, then a dense layer: linear in each embedding."""

    limit = 12

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(128, 3, dtype=torch.float64)
        self.head = nn.Linear(3, 4, dtype=torch.float64)

    def encode(self, texts: Sequence[Text]) -> Tensor:
        rows = [[ord(letter) % 128 for letter in str(text)[:12]] for text in texts]
        return torch.tensor([row + [0] * (12 - len(row)) for row in rows])

    def spans(self, text: Text) -> list[tuple[int, int, int]]:
        return [(0, place, place + 1) for place in range(min(12, len(text)))]

    def lengths(self, texts: Sequence[Text]) -> list[int]:
        return [len(text) for text in texts]

    def forward(self, ids: Tensor) -> Tensor:
        kept = (ids != 0)[:, :, None]
        logits: Tensor = self.head((self.embeddings(ids) * kept).sum(1) / kept.sum(1).clamp_min(1))
        return logits


def test_gradients_of_a_linear_model_have_their_closed_form() -> None:
    torch.manual_seed(0)
    model = Bag()
    found = victim(model)
    assert found.gradients is not None
    texts = ["a bcd", "one-two three four", "!"]
    labels = [0, 3, 2]
    items = [(cut(text), text, label) for text, label in zip(texts, labels, strict=True)]
    sizes = [[1, 3], [len("one-two"), len("thre"), 0], []]  # cut in the word "three"; "four" is not seen
    for (words, text, label), grad, letters in zip(items, found.gradients(items), sizes, strict=True):
        error = torch.tensor(found.predict([text])[0])
        error[label] -= 1
        one = (error @ model.head.weight / min(len(text), 12)).detach().numpy()
        np.testing.assert_allclose(grad, np.outer(letters, one), atol=1e-12)
        assert grad.shape == (len(words.words), 3)


def cnn() -> WordCNN:
    torch.manual_seed(1)
    return WordCNN(vocabulary_of(["the film was good dull well"]), 3, width=6, filters=5).double()


def bert() -> SentenceClassifier:
    torch.manual_seed(2)
    sizes = {"width": 8, "layers": 2, "heads": 2, "inner": 12, "positions": 24, "length": 20}
    model = SentenceClassifier(PIECES, 3, **sizes).double()
    nn.init.normal_(model.embeddings.weight)
    return model


@pytest.mark.parametrize(
    ("model", "text", "rows"),
    [
        (cnn(), "the film was good!", [["the"], ["film"], ["was"], ["good"]]),
        (bert(), "The goodness was dull, film!", [["the"], ["good", "##ness"], ["was"], ["dull"], ["film"]]),
        (bert(), ("the film", "goodness was dull"), [["good", "##ness"], ["was"], ["dull"]]),
    ],
    ids=["cnn", "bert", "pair"],
)
@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_gradients_are_finite_differences_of_the_log_loss(
    model: WordCNN | SentenceClassifier, text: Text, rows: list[list[str]], output: str
) -> None:
    if output == "probabilities":
        inner = model.forward
        model.forward = lambda ids: inner(ids).softmax(1)  # type: ignore[method-assign]
    found = victim(model)
    assert found.gradients is not None
    words, label, step = cut(text if isinstance(text, str) else text[1]), 1, 1e-5
    (grad,) = found.gradients([(words, text, label)])
    weight, places = model.embeddings.weight, {word: row for row, word in enumerate(model.words)}
    expected = np.zeros_like(grad)
    for word, pieces in enumerate(rows):
        for column in range(grad.shape[1]):
            for sign in (1, -1):
                with torch.no_grad():
                    kept = weight.clone()
                    weight[[places[piece] for piece in pieces], column] += sign * step
                    expected[word, column] -= sign * np.log(found.predict([text])[0, label]) / (2 * step)
                    weight.copy_(kept)
    np.testing.assert_allclose(grad, expected, atol=1e-8, rtol=1e-5)
    vars(model).pop("forward", None)


def found_victims() -> list[Victim]:
    return [victim(cnn()), victim(bert())]


@pytest.mark.parametrize("found", found_victims(), ids=["cnn", "bert"])
def test_gradients_do_not_depend_on_the_batch(found: Victim) -> None:
    assert found.gradients is not None
    texts = ["the film", "", "goodness, dull! " * 30, "was well the film"] * 20
    items = [(cut(text), text, number % 3) for number, text in enumerate(texts)]
    for item, grad in zip(items, found.gradients(items), strict=True):
        np.testing.assert_allclose(found.gradients([item])[0], grad, atol=1e-12)


def test_words_beyond_the_limit_have_no_gradient() -> None:
    found = found_victims()[1]
    assert found.gradients is not None
    text = "film " * 30
    (grad,) = found.gradients([(cut(text), text, 0)])
    assert (np.abs(grad[:18]).sum(1) > 0).all()
    assert not grad[18:].any()


def test_gradients_leave_no_trace() -> None:
    model = bert().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = victim(model)
    assert found.gradients is not None
    with torch.no_grad():
        found.gradients([(cut("the film"), "the film", 0)])
    assert all(part.training and not part._forward_hooks for part in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_tables_have_whole_words_alone() -> None:
    models: list[WordCNN | SentenceClassifier] = [cnn(), bert()]
    for model in models:
        found = victim(model)
        assert found.gradients is not None
        table = found.gradients.table
        assert table is not None
        assert table.words == tuple(
            word for word in model.words if word[:2] != "##" and word[:1] + word[-1:] not in ("[]", "<>")
        )
        np.testing.assert_array_equal(
            table.vectors, model.embeddings.weight.detach()[[model.words.index(word) for word in table.words]]
        )


def test_items_whose_words_are_of_another_text_are_refused() -> None:
    found = found_victims()[1]
    assert found.gradients is not None
    with pytest.raises(ValueError, match=r"no field of \('a', 'b'\) is 'c'"):
        found.gradients([(cut("c"), ("a", "b"), 0)])
