"""Images that were corrupted before are evaluated like those that are corrupted in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from robustlab.core import DataError
from robustlab.corruptions import corruption
from robustlab.data import CorruptedCopies, InMemory, load
from robustlab.evaluation import evaluate_corruptions, ready_made

NAMES = ("saturate", "contrast", "gaussian_noise")
CLASSES = ("dark", "middle", "bright", "white")
Y = torch.arange(12) % 4
NOISE = torch.rand(12, 3, 40, 40, generator=torch.Generator().manual_seed(0)) / 5 - 0.1
X = (Y[:, None, None, None] + 0.5) / 4 + NOISE
CLEAN = InMemory("shades", CLASSES, X.clamp(0, 1).mul(255).round().to(torch.uint8), Y)


def model(x: Tensor) -> Tensor:
    """Tells shades apart, and is not good at it."""
    return -(x.mean(dim=(1, 2, 3))[:, None] * 4 - 0.6 - torch.arange(4.0)).abs()


@pytest.fixture
def copies(tmp_path: Path) -> CorruptedCopies:
    x = CLEAN.batch(torch.arange(12)).x
    for name in NAMES:
        done = [corruption(name)(x, severity=severity) for severity in (1, 2, 3, 4, 5)]
        images = torch.cat(done).mul(255).round().to(torch.uint8)
        np.save(tmp_path / f"{name}.npy", images.permute(0, 2, 3, 1).numpy())
    np.save(tmp_path / "labels.npy", Y.numpy())
    found = load(f"cifar-c:{tmp_path}")
    assert isinstance(found, CorruptedCopies)
    return found


def test_the_numbers_are_those_of_corrupting_in_memory(copies: CorruptedCopies) -> None:
    stored = evaluate_corruptions(model, copies)
    memory = evaluate_corruptions(model, CLEAN, corruptions=("gaussian_noise", "contrast", "saturate"))
    assert [(c.corruption, c.severity, c.accuracy) for c in stored.cells] == [
        (c.corruption, c.severity, c.accuracy) for c in memory.cells
    ]
    assert 0 < stored.errors.mean_error.value < 1
    assert (stored.variant, stored.clean) == ("ready-made", None)
    assert [(info.name, info.family) for info in stored.corruptions] == [
        ("gaussian_noise", "noise"), ("contrast", "digital"), ("saturate", "extra"),
    ]  # fmt: skip
    assert stored.errors.over == ("gaussian_noise", "contrast")


def test_some_corruptions_severities_and_examples(copies: CorruptedCopies) -> None:
    found = evaluate_corruptions(model, copies, corruptions=["contrast"], severities=[2, 3], n=5)
    assert [(c.corruption, c.severity, c.accuracy.n) for c in found.cells] == [("contrast", 2, 5), ("contrast", 3, 5)]
    with pytest.raises(ValueError, match=r"has no fog; it has gaussian_noise, contrast, saturate"):
        evaluate_corruptions(model, copies, corruptions=["fog"])


def test_the_clean_images_may_stand_beside_them(copies: CorruptedCopies) -> None:
    found = evaluate_corruptions(model, ready_made(copies, CLEAN))
    assert found.clean is not None
    assert found.clean.accuracy.n == 12
    with pytest.raises(DataError, match="has 12 images of 4 classes, others have 11 of 4"):
        ready_made(copies, (X[:11], Y[:11]))
    turned = InMemory("turned", CLASSES, CLEAN.x.flip(0), Y.flip(0))
    with pytest.raises(DataError, match="has other labels than the rest of the set"):
        evaluate_corruptions(model, ready_made(copies, turned))
