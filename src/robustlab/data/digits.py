"""Handwritten digits of scikit-learn: 1,797 real images of 8x8 pixels, shipped with that package."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from robustlab.core.random import subset
from robustlab.data.memory import InMemory
from robustlab.data.named import DataSet, Description, Request, register

_SPLIT_SEED = 0
_TEST_FRACTION = 0.2

_LARGE = 28  # pixels: the size of Fashion-MNIST


def digits(split: str = "test", *, enlarged: bool = False) -> InMemory:
    """The digits, with a fifth drawn by hash as the test set (the data set itself has no official one).

    Args:
        split: "train" (1,438), "test" (359) or "all" (1,797).
        enlarged: each pixel becomes 3x3 pixels and the image gets a frame of 2, which makes it 28x28, so that the
            digits can replace Fashion-MNIST.

    Returns: uint8 images (N, 1, 8, 8) or (N, 1, 28, 28): the original grey levels 0..16 times 255/16, rounded.
    Raises: ValueError for another split.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    y = torch.from_numpy(bunch.target).long()
    rows = _rows(split, len(x))
    name = f"digits {split}" + (" enlarged to 28x28" if enlarged else "")
    names = tuple(str(k) for k in range(10))
    return InMemory(name, names, _enlarged(x[rows]) if enlarged else x[rows], y[rows], "scikit-learn's own files")


def _enlarged(x: Tensor) -> Tensor:
    return nn.functional.pad(x.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3), (2, 2, 2, 2))


def _rows(split: str, n: int) -> Tensor:
    test = torch.zeros(n, dtype=torch.bool)
    test[subset(n, int(n * _TEST_FRACTION), seed=_SPLIT_SEED)] = True
    choices = {"train": ~test, "test": test, "all": torch.ones_like(test)}
    if split not in choices:
        raise ValueError(f"digits has the splits {', '.join(choices)}, not {split!r}")
    return choices[split].nonzero().flatten()


def _read(request: Request) -> InMemory:
    return digits(request.split, enlarged=request.side == _LARGE)


def _description(root: Path | None) -> Description:
    del root
    contents, licence = "1,797 handwritten digits, 8x8 grey, 10 classes", "CC BY 4.0 (UCI machine learning repository)"
    return Description("digits", contents, licence, "inside the package scikit-learn", "installed")


register("digits", DataSet(_read, _description, splits=("train", "test")))
