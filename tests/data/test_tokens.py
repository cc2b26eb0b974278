"""Token numbers as a data set."""

from __future__ import annotations

import pytest
import torch

from robustlab.data import Tokens, WithoutLabels, examples

X, Y = torch.tensor([[2, 3, 0], [4, 0, 0], [2, 2, 2]]), torch.tensor([0, 1, 1])


def test_token_numbers_stay_whole_numbers() -> None:
    data = Tokens("three texts", ("no", "yes"), X, Y)
    batch = examples(data).batch(torch.tensor([2, 0]))
    assert batch.x.dtype is torch.int64
    assert batch.x.tolist() == [[2, 2, 2], [2, 3, 0]]
    assert (batch.y.tolist(), batch.ids.tolist(), len(data)) == ([1, 0], [2, 0], 3)
    assert WithoutLabels(data).batch(torch.tensor([1])).y.tolist() == [0]


def test_their_digest_follows_values_shape_and_classes() -> None:
    found = [
        Tokens("a", ("no", "yes"), X, Y),
        Tokens("a", ("no", "yes"), X, 1 - Y),
        Tokens("a", ("yes", "no"), X, Y),
        Tokens("a", ("no", "yes"), X[:, :2], Y),
        Tokens("a", ("no", "yes"), X + 1, Y),
    ]
    assert len({data.sha256 for data in found}) == 5
    assert found[0].sha256 == Tokens("b", ("no", "yes"), X.T.contiguous().T, Y).sha256


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X.float(), Y, "token numbers are torch.float32 of shape"),
        (X[0], Y[:1], "give int64 of shape"),
        (X[:0], Y[:0], "at least one text"),
        (X, Y + 1, "labels run from 1 to 2"),
        (X, Y[:2], "one number each"),
    ],
)
def test_other_inputs_are_refused(x: torch.Tensor, y: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tokens("texts", ("no", "yes"), x, y)
