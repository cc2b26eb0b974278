"""The user's own tensors and torch data sets; parts of data sets."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from robustlab.core.errors import DataError
from robustlab.data import InMemory, apart, examples, load, parts, sample
from robustlab.data.wrapped import data_sha256, sampled_sha256

X = torch.rand(6, 3, 4, 4)
Y = torch.tensor([0, 1, 2, 2, 1, 0])


class Promised(Dataset[tuple[object, int]]):
    """A data set with a wrong length or wrong examples."""

    classes = ("a", "b", "c")

    def __init__(self, items: list[tuple[object, int]], promised: int) -> None:
        self.items = items
        self.promised = promised

    def __len__(self) -> int:
        return self.promised

    def __getitem__(self, index: int) -> tuple[object, int]:
        return self.items[index]


def promised(*items: tuple[object, int], length: int | None = None) -> Promised:
    return Promised(list(items), len(items) if length is None else length)


@pytest.mark.parametrize(
    "make",
    [
        lambda: examples(X, Y),
        lambda: examples((X.numpy(), Y.numpy())),
        lambda: examples(TensorDataset(X, Y), classes=3),
        lambda: examples(examples(X, Y)),
    ],
    ids=["tensors", "arrays", "dataset", "examples"],
)
def test_all_ways_give_the_same_examples(make: Callable[[], object]) -> None:
    found = make()
    assert found.classes == ("0", "1", "2")  # type: ignore[attr-defined]
    batch = found.batch(torch.tensor([4, 1]))  # type: ignore[attr-defined]
    assert torch.equal(batch.x, X[[4, 1]])
    assert batch.y.tolist() == [1, 1]
    assert batch.ids.tolist() == [4, 1]


def test_pictures_and_bytes_become_unit_range() -> None:
    picture = Image.new("RGB", (5, 4), (255, 51, 0))
    batch = examples(promised((picture, 2), (picture, 0))).batch(torch.arange(2))
    assert batch.x.shape == (2, 3, 4, 5)
    assert batch.x[1, :, 3, 4].tolist() == pytest.approx([1.0, 0.2, 0.0])
    grey = examples(promised((Image.new("L", (5, 4), 51), 1))).batch(torch.arange(1))
    assert grey.x.shape == (1, 1, 4, 5)
    assert float(grey.x.max()) == pytest.approx(0.2)


def test_a_data_set_that_ends_early_is_caught() -> None:
    short = examples(promised((X[0], 0), (X[1], 1), length=5), name="mine")
    assert short.batch(torch.arange(2)).y.tolist() == [0, 1]
    with pytest.raises(
        DataError, match=r"mine has 5 examples by its length, but number 2 is missing \(IndexError.*ends early"
    ):
        short.batch(torch.arange(5))


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([(X[0], 0), (X[1, :, :2], 1)], DataError, "inputs of different shapes [(3, 2, 4), (3, 4, 4)]"),
        ([(X[0], 3)], ValueError, "labels run from 3 to 3, but with 3 classes they must be in 0..2"),
        ([(X[0] * torch.nan, 0)], ValueError, "1 of 1 inputs hold NaN"),
        ([(X[0].int(), 0)], ValueError, "inputs are torch.int32"),
        ([X[0]], DataError, "item 0 of Promised is a Tensor, expected a pair (x, y)"),
    ],
)
def test_bad_items_are_named(items: list[tuple[object, int]], error: type[Exception], message: str) -> None:
    found = examples(promised(*items))
    with pytest.raises(error, match=re.escape(message)):
        found.batch(torch.arange(len(items)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: examples(X), "inputs of shape (6, 3, 4, 4) without labels: give examples(x, y)"),
        (lambda: examples(iter([])), "a list_iterator has no examples by number (no __len__ and __getitem__)"),
        (lambda: examples(np.zeros((6, 8, 8, 3), np.uint8), Y), "look like (N, H, W, C): give x.permute(0, 3, 1, 2)"),
        (lambda: examples(X, Y[:5]), "labels of shape (5,) for 6 inputs"),
        (lambda: examples(X, Y, classes=2), "labels run from 0 to 2, but with 2 classes"),
    ],
)
def test_what_is_no_data_set_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_the_hash_of_a_torch_data_set_sees_a_change() -> None:
    known = examples(TensorDataset(X, Y), classes=3)
    other = X.clone()
    other[5, 0, 0, 0] += 0.5
    hashes = [getattr(data, "sha256", "") for data in (known, examples(TensorDataset(other, Y), classes=3))]
    assert len(set(hashes)) == 2
    assert hashes[0] == getattr(examples(TensorDataset(X.clone(), Y), classes=3), "sha256", "")


def test_parts_are_disjoint_cover_everything_and_stay_the_same() -> None:
    whole = load("digits", split="all")
    shares = {"train": 0.7, "valid": 0.1, "test": 0.2}
    divided = parts(whole, shares, seed=3)
    rows = torch.cat([part.rows for part in divided.values()])
    assert rows.sort().values.tolist() == list(range(1797))
    assert [len(part) for part in divided.values()] == [1258, 180, 359]
    again = parts(whole, shares, seed=3)
    assert all(torch.equal(again[name].rows, part.rows) for name, part in divided.items())
    assert not torch.equal(parts(whole, shares, seed=4)["test"].rows, divided["test"].rows)


def test_a_data_set_is_split_into_a_sample_and_the_rest() -> None:
    whole = load("digits", split="all")
    chosen, rest = apart(whole, 200, seed=3)
    assert torch.equal(chosen.rows, sample(whole, 200, seed=3).rows)
    assert torch.cat([chosen.rows, rest.rows]).sort().values.tolist() == list(range(1797))
    assert (len(chosen), len(rest)) == (200, 1597)
    for size in (0, 1797):
        with pytest.raises(ValueError, match=f"{size} of the 1797 examples of .* cannot be set apart"):
            apart(whole, size)


def test_a_part_numbers_its_own_examples() -> None:
    whole = examples(X, Y)
    half = sample(whole, 3, seed=1)
    batch = half.batch(torch.tensor([2, 0]))
    assert torch.equal(batch.x, X[half.rows[[2, 0]]])
    assert batch.ids.tolist() == [2, 0]
    assert half.classes == whole.classes
    with pytest.raises(ValueError, match=r"has examples 0..2, got ids 3..3"):
        half.batch(torch.tensor([3]))
    assert half.sha256 != sample(whole, 3, seed=2).sha256
    assert half.sha256 == sample(examples(X.clone(), Y), 3, seed=1).sha256


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"train": 0.8, "test": 0.3}, "in total at most 1"),
        ({"train": 0.0}, "each be in"),
        ({"train": 0.9, "test": 0.01}, "6 examples leave none for part 'test'"),
    ],
)
def test_invalid_fractions_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parts(examples(X, Y), shares)


def test_a_data_set_is_named_by_its_own_digest_or_by_that_of_a_sample() -> None:
    whole = InMemory("squares", ("a", "b"), torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]))
    assert data_sha256(whole) == whole.sha256 != sampled_sha256(whole)

    class WithoutDigest:
        name, classes, sha256 = whole.name, whole.classes, None
        __len__, batch = whole.__len__, whole.batch

    assert data_sha256(WithoutDigest()) == sampled_sha256(whole)
