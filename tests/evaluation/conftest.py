from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import Linf, Stop, ThreatModel
from robustlab.core.types import Batch, Model


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny models are faster so, and results equal on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def full_after() -> Callable[[int], AbstractContextManager[None]]:
    """Makes a block in which the disk is full once so many files were opened for writing."""
    return _full_after


@contextmanager
def _full_after(files: int) -> Iterator[None]:
    open_file, left = Path.open, [files]

    def opened(
        self: Path, mode: str = "r", *, encoding: str | None = None, errors: str | None = None
    ) -> IO[bytes] | IO[str]:
        left[0] -= "w" in mode
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return open_file(self, mode, encoding=encoding, errors=errors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", opened)
        yield


@dataclass(frozen=True)
class Digits:
    """Real digits (8x8), for training and for evaluation, and their classes."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor

    @property
    def test(self) -> tuple[Tensor, Tensor]:
        return self.x_test, self.y_test


@pytest.fixture(scope="session")
def digits() -> Digits:
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(data.target).long()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return Digits(x[order[:1200]], y[order[:1200]], x[order[1200:]], y[order[1200:]])


def fit(model: nn.Module, x: Tensor, y: Tensor, *, epochs: int, eps: float = 0.0) -> nn.Module:
    """Trains with Adam; with eps on inputs moved by one signed gradient step from a random start."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(100):
            inputs = x[rows]
            if eps:
                start = inputs + eps * (2 * torch.rand(inputs.shape, generator=generator) - 1)
                start.requires_grad_()
                (grad,) = torch.autograd.grad(F.cross_entropy(model(start), y[rows]), start)
                moved = (start + 1.25 * eps * grad.sign()).detach()
                inputs = (inputs + (moved - inputs).clamp(-eps, eps)).clamp(0, 1)
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), y[rows]).backward()
            optimizer.step()
    return model.eval()


def small_cnn(classes: int = 10, *, norm: bool = False) -> nn.Sequential:
    """A network that learns the digits in seconds."""
    torch.manual_seed(0)
    middle: list[nn.Module] = [nn.BatchNorm2d(16)] if norm else []
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        *middle,
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(),
        nn.Linear(32, classes),
    )


@pytest.fixture(scope="session")
def standard(digits: Digits) -> nn.Module:
    """A sound model."""
    torch.set_num_threads(1)
    return fit(small_cnn(), digits.x, digits.y, epochs=6)


@pytest.fixture(scope="session")
def with_norm(digits: Digits) -> nn.Module:
    """A sound model with BatchNorm."""
    torch.set_num_threads(1)
    return fit(small_cnn(norm=True), digits.x, digits.y, epochs=4)


@pytest.fixture(scope="session")
def hardened(digits: Digits) -> nn.Module:
    """A sound model trained on adversarial inputs."""
    torch.set_num_threads(1)
    return fit(small_cnn(), digits.x, digits.y, epochs=8, eps=0.1)


@pytest.fixture(scope="session")
def binary(digits: Digits) -> nn.Module:
    """A sound model of two classes: even or odd."""
    torch.set_num_threads(1)
    return fit(small_cnn(2), digits.x, digits.y % 2, epochs=8)


@dataclass(frozen=True)
class Moved:
    """A stand-in attack: adds the same to every input value, whatever the model says."""

    by: float
    eps: float = 0.1

    @property
    def threat(self) -> ThreatModel:
        return ThreatModel(Linf(), self.eps)

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        del model, y, target, stop, seed, ids
        return x + self.by


class Points:
    """One number per example in [0, 1]; class 1 above 0.5; keeps account of what was asked for."""

    name = "points"
    classes = ("below", "above")

    def __init__(self, count: int, ends: int | None = None) -> None:
        self.count, self.ends = count, count if ends is None else ends
        self.largest = 0

    def __len__(self) -> int:
        return self.count

    def batch(self, ids: Tensor) -> Batch:
        self.largest = max(self.largest, len(ids))
        kept = ids[ids < self.ends]
        x = ((kept.double() * 0.6180339887498949) % 1).float()[:, None]
        return Batch(x, (x[:, 0] > 0.5).long(), kept)


class Threshold(nn.Module):
    """Classifies points as they are: an example is fooled exactly where its distance to 0.5 is at most eps."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(4.0))

    def forward(self, x: Tensor) -> Tensor:
        z = self.slope * (x[:, 0] - 0.5)
        return torch.stack([-z, z], dim=1)


@pytest.fixture
def points() -> type[Points]:
    """The class of stand-in data."""
    return Points


@pytest.fixture
def threshold() -> Threshold:
    """A model whose robust accuracy is known in closed form."""
    return Threshold()


@pytest.fixture
def moved() -> type[Moved]:
    """The class of stand-in attacks."""
    return Moved


@pytest.fixture
def readable(tmp_path: Path) -> Path:
    """A place for a run directory."""
    return tmp_path / "run"
