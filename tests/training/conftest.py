"""Small data and models that train in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from robustlab.data import InMemory


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def squares() -> InMemory:
    """50 noisy 8x8 images, each with a bright quarter that shows its class."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(4, (50,), generator=draw)
    x = torch.randint(128, (50, 1, 8, 8), generator=draw, dtype=torch.uint8)
    for image, label in zip(x, y.tolist(), strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[:, row : row + 4, column : column + 4] += 90
    return InMemory("squares", ("a", "b", "c", "d"), x, y)


@pytest.fixture
def make_net() -> Callable[..., nn.Sequential]:
    """Makes a small network with BatchNorm and dropout, the same one from the same seed."""

    def make(seed: int = 0, dropout: float = 0.2) -> nn.Sequential:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return nn.Sequential(
                nn.Conv2d(1, 6, 3, stride=2, padding=1),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Conv2d(6, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(128, 4),
            )

    return make
