"""Defences that draw: expectation over transformations finds their true robustness, for any source of draws.

The model sees one quarter of the image, drawn anew on each pass. Every quarter is within eps of the other class, so
that no image is robust; who sees one frozen draw changes one quarter and fools one pass in four.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks import APGD, EOT, PGD
from robustlab.core import Attack, Linf, ThreatModel
from robustlab.data import InMemory
from robustlab.evaluation import evaluate
from robustlab.models import adapted

THREAT = ThreatModel(Linf(), 0.2)
X = 0.6 + 0.02 * torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.ones(6, dtype=torch.int64)
GLOBAL = np.random.default_rng(0)


def seen_quarter(x: Tensor, quarter: int) -> Tensor:
    """Logits (N, 2): whether a quarter is bright."""
    rows, columns = divmod(quarter, 2)
    bright = x[..., 4 * rows : 4 * rows + 4, 4 * columns : 4 * columns + 4].mean(dim=(1, 2, 3)) - 0.5
    return torch.stack([-bright, bright], dim=1)


class Quarter(nn.Module):
    """Looks at the quarter that is drawn."""

    def __init__(self, draw: Callable[[Quarter], int]) -> None:
        super().__init__()
        self.draw, self.calls, self.order = draw, 0, deque(range(4))
        self.random, self.numpy = random.Random(0), np.random.default_rng(0)
        self.torch, self.cycle = torch.Generator().manual_seed(0), itertools.cycle(range(4))

    def forward(self, x: Tensor) -> Tensor:
        return seen_quarter(x, self.draw(self))


def counting(net: Quarter) -> int:
    net.calls += 1
    return net.calls % 4


def turning(net: Quarter) -> int:
    net.order.rotate()
    return net.order[0]


class Layers(nn.Module):
    """One of four layers, each with a BatchNorm layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(64, 2), nn.BatchNorm1d(2)) for _ in range(4))
        for i, layer in enumerate(self.layers):
            weight = cast("nn.Linear", cast("nn.Sequential", layer)[0]).weight
            weight.data = torch.autograd.functional.jacobian(lambda z, i=i: seen_quarter(z, i)[0], X[:1]).reshape(2, 64)
            cast("nn.Linear", cast("nn.Sequential", layer)[0]).bias.data = seen_quarter(0 * X[:1], i)[0]

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.layers[random.randrange(4)](x.flatten(1)))


class Shifted(nn.Module):
    """Pads and crops at random, then sees the middle."""

    def forward(self, x: Tensor) -> Tensor:
        left, top = random.randrange(5), int(np.random.randint(5))  # noqa: NPY002 -- what many defences do
        moved = F.pad(x, (4 - left, left, 4 - top, top), value=0.5)[..., 4:8, 4:8]
        bright = moved.mean(dim=(1, 2, 3)) - 0.5
        return torch.stack([-bright, bright], dim=1)


class Dropped(nn.Module):
    """Leaves dropout on."""

    def forward(self, x: Tensor) -> Tensor:
        bright = F.dropout(x - 0.5, 0.7, training=True).mean(dim=(1, 2, 3))
        return torch.stack([-bright, bright], dim=1)


def of_closure() -> nn.Module:
    own = random.Random(3)
    return adapted(lambda x: seen_quarter(x, own.randrange(4)))


DEFENCES: dict[str, Callable[[], nn.Module]] = {
    "random": lambda: Quarter(lambda _: random.randrange(4)),
    "numpy": lambda: Quarter(lambda _: int(np.random.randint(4))),  # noqa: NPY002
    "torch item": lambda: Quarter(lambda _: int(torch.randint(4, ()).item())),
    "own random": lambda: Quarter(lambda net: net.random.randrange(4)),
    "own numpy": lambda: Quarter(lambda net: int(net.numpy.integers(4))),
    "own torch": lambda: Quarter(lambda net: int(torch.randint(4, (), generator=net.torch))),
    "of the module": lambda: Quarter(lambda _: int(GLOBAL.integers(4))),
    "of a closure": of_closure,
    "the system's": lambda: Quarter(lambda _: random.SystemRandom().randrange(4)),
    "a counter": lambda: Quarter(counting),
    "a queue": lambda: Quarter(turning),
    "a cycle": lambda: Quarter(lambda net: next(net.cycle)),
    "layers": Layers,
    "padding": Shifted,
    "dropout": Dropped,
}
ATTACKS = [EOT(PGD(THREAT, 8), 16), EOT(APGD(THREAT, 10), 16)]


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=["pgd", "apgd"])
@pytest.mark.parametrize("make", DEFENCES.values(), ids=DEFENCES)
def test_every_pass_is_fooled(make: Callable[[], nn.Module], attack: Attack) -> None:
    model = make().eval()
    assert all((model(X).argmax(1) == Y).all() for _ in range(20))
    x_adv = attack(model, X, Y, stop="never")
    assert all((model(x_adv).argmax(1) != Y).all() for _ in range(20))


@pytest.mark.parametrize("make", [DEFENCES["numpy"], Layers, Shifted])
def test_an_evaluation_has_the_finding(make: Callable[[], nn.Module]) -> None:
    data = InMemory("quarters", ("dark", "bright"), X, Y)
    assert evaluate(make().eval(), data, attacks=[ATTACKS[0]]).worst[-1].robust.value == 0
