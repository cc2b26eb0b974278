"""Hard images of Fashion-MNIST by their numbers; and the list in the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from robustlab.core.errors import DataError
from robustlab.data import InMemory, fashion_mnist_a, load
from robustlab.data.fashion_mnist import CLASSES

TRAIN = 5


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> InMemory:
    """Eight images in place of 70,000; the first five are training images."""
    x = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(8, 1, 28, 28).contiguous()
    made = InMemory("all", CLASSES, x, torch.arange(8))
    record = {"sha256": made.sha256, "members": [1, 4, 6, 7], "suspects": [5, 2]}
    (tmp_path / "list.json").write_text(json.dumps(record))
    monkeypatch.setattr(fashion_mnist_a, "RECORD", tmp_path / "list.json")
    monkeypatch.setattr(fashion_mnist_a, "TRAIN", TRAIN)
    monkeypatch.setattr(fashion_mnist_a, "fashion_mnist", lambda *_, **__: made)
    return made


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize(
    ("split", "rows"), [("all", [1, 4, 6, 7]), ("train", [1, 4]), ("test", [6, 7]), ("suspects", [2, 5])]
)
def test_splits_are_those_of_fashion_mnist(split: str, rows: list[int]) -> None:
    found = load("fashion-mnist-a", split=split)
    assert found.rows.tolist() == rows  # type: ignore[attr-defined]  # a part of the pool
    batch = found.batch(torch.arange(len(found)))
    assert batch.y.tolist() == rows
    assert batch.x[:, 0, 0, 0].mul(255).round().tolist() == rows


@pytest.mark.usefixtures("pool")
def test_other_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="has the splits test, train, all, suspects, not 'valid'"):
        load("fashion-mnist-a", split="valid")


def test_numbers_of_other_images_are_refused(pool: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    other = InMemory("all", CLASSES, pool.x.flip(0), pool.y)
    monkeypatch.setattr(fashion_mnist_a, "fashion_mnist", lambda *_, **__: other)
    with pytest.raises(DataError, match="belongs to other images than those of all"):
        load("fashion-mnist-a")
