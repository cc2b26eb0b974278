"""Small networks that have learned handwritten digits within a second each, for tests of checks."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustlab.data.digits import digits
from robustlab.explain.checks import shuffled_labels


class TokenNet(nn.Module):
    """A vision transformer of two blocks on patches of 2 x 2 pixels."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, width, 2, 2)
        self.place = nn.Parameter(0.1 * torch.randn(1, 16, width))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, 4, 48, 0.0, "gelu", batch_first=True, norm_first=True)
                for _ in range(2)
            )
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 1, 8, 8) to logits (N, 10)."""
        logits: Tensor = self.head(self.blocks(self.patch(x).flatten(2).transpose(1, 2) + self.place).mean(1))
        return logits


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def normed() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def smooth() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(192, 24),
        nn.SiLU(),
        nn.Linear(24, 10),
    )


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
    "cnn": cnn,
    "batchnorm": normed,
    "silu": smooth,
    "vit": TokenNet,
}


@functools.cache
def images(split: str) -> tuple[Tensor, Tensor]:
    """All digits of a split, (N, 1, 8, 8) in [0, 1], and their labels."""
    every = digits(split)
    batch = every.batch(torch.arange(len(every)))
    return batch.x, batch.y


@functools.cache
def trained(name: str, *, shuffled: bool = False) -> nn.Module:
    """A network by its name, in evaluation mode; on shuffled labels, of which it knows some by heart."""
    x, y = images("train")
    y = shuffled_labels(y) if shuffled else y
    with torch.random.fork_rng([]):
        torch.manual_seed(1 if shuffled else 0)
        model = MAKERS[name]()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2 if name != "vit" else 5e-3)
        for _ in range(150 if name == "vit" else 80):
            rows = torch.randint(len(x), (64,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model.eval()
