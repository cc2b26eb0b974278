"""Models that do not do the same at each pass get no search twin; those that do keep theirs, whatever their code."""

from __future__ import annotations

import copy
import gc
import itertools
import linecache
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

from robustlab.attacks import FGSM
from robustlab.core import Linf, ThreatModel, own_twin, search_twin

OF_MODULE, OF_DEFAULT = random.Random(0), random.Random(1)
OUT_OF_SIGHT = itertools.cycle([torch.Generator().manual_seed(0)])
X = torch.rand(8, 3, 10, 8, generator=torch.Generator().manual_seed(1))


def settled(model: nn.Module) -> nn.Module:
    """Random weights and statistics; in eval mode."""
    draw = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
        elif tensor.is_floating_point():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=draw))
    return model.eval()


class Normed(nn.Module):
    """A convolution, then a norm layer or none, as ``way`` says of the input and of what the layer returned."""

    def __init__(self, way: Callable[[Normed, Tensor, Tensor], object]) -> None:
        super().__init__()
        self.layer, self.norm, self.way = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), way
        self.calls, self.order, self.kept = 0, deque([0, 1]), OrderedDict[int, int]()
        self.own, self.numpy = random.Random(0), np.random.default_rng(0)
        self.legacy, self.torch = np.random.RandomState(0), torch.Generator().manual_seed(0)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        return cast("Tensor", (self.norm(out) if self.way(self, x, out) else out).mean(dim=(2, 3)))


def counted(net: Normed, *_: Tensor) -> bool:
    net.calls += 1
    return True


def turned(net: Normed, *_: Tensor) -> bool:
    net.order.rotate()
    return True


def remembered(net: Normed, x: Tensor, _: Tensor) -> bool:
    net.kept[len(net.kept)] = len(x)
    return True


def in_a_buffer(net: Normed, *_: Tensor) -> bool:
    cast("Tensor", net.seen).add_(1)
    return True


MOVING = {
    "random": lambda *_: random.random() >= 0,
    "numpy": lambda *_: np.random.rand() >= 0,  # noqa: NPY002 -- the global generator is what the test is about
    "torch": lambda *_: torch.rand(()) is not None,
    "torch item": lambda *_: torch.randint(4, ()).item() >= 0,
    "own random": lambda net, *_: net.own.random() >= 0,
    "own numpy": lambda net, *_: net.numpy.random() >= 0,
    "own legacy numpy": lambda net, *_: net.legacy.rand() >= 0,
    "own torch": lambda net, *_: torch.rand((), generator=net.torch) is not None,
    "out of sight": lambda *_: torch.rand((), generator=next(OUT_OF_SIGHT)) is not None,
    "a default": lambda *_, own=OF_DEFAULT: own.random() >= 0,
    "of the module": lambda *_: OF_MODULE.random() >= 0,
    "dropout": lambda _, x, __: F.dropout(x, training=True) is not None,
    "a counter": counted,
    "a queue": turned,
    "a cache": remembered,
    "a buffer": in_a_buffer,
}
"""Layers that draw or count, without an effect so far: another pass may differ."""
DECIDING = {
    "comparison": lambda _, x, __: x.mean() > 0,
    "comparison inside": lambda _, __, out: out.mean() > -9,
    "item": lambda _, x, __: x[0, 0, 0, 0].item() >= 0,
    "float": lambda _, x, __: float(x.sum()) >= 0,
    "int": lambda _, x, __: int(x.sum()) >= 0,
    "list": lambda _, x, __: x.flatten().tolist()[0] >= 0,
    "numpy": lambda _, x, __: x.detach().numpy().mean() >= 0,
    "array": lambda _, x, __: np.asarray(x).mean() >= 0,
    "equal": lambda _, x, __: torch.equal(x, x),
    "allclose": lambda _, x, __: torch.allclose(x, x),
    "nonzero": lambda _, x, __: len(torch.nonzero(x)) > 0,
    "mask": lambda _, x, __: len(x[x >= 0]) > 0,
    "unique": lambda _, x, __: len(x.unique()) > 0,
    "any": lambda _, x, __: bool((x >= 0).any()),
    "text": lambda _, x, __: len(f"{x}") > 0,
    "pointer": lambda _, x, __: x.data_ptr() > 0,
}
"""Ways on which values leave torch, so that Python could decide by them."""


@pytest.mark.parametrize("way", [*MOVING.values(), *DECIDING.values()], ids=[*MOVING, *DECIDING])
def test_a_model_that_may_differ_between_passes_searches_with_itself(way: Callable[..., object]) -> None:
    model = settled(Normed(way))
    assert search_twin(model, X) == own_twin(model, X)
    assert search_twin(model, X, dtype=torch.bfloat16) == own_twin(model, X)


@pytest.mark.parametrize("way", [lambda *_: True, lambda _, x, __: x.shape[1] == 3, lambda net, *_: net.calls == 0])
def test_a_model_that_cannot_is_folded(way: Callable[..., object]) -> None:
    assert norms(search_twin(settled(Normed(way)), X).search) == 0


def norms(model: object) -> int:
    return sum("BatchNorm" in type(part).__name__ for part in cast("nn.Module", model).modules())


class Masked(nn.Module):
    """Uses what the convolution returned a second time, which makes no difference for small inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        return cast("Tensor", (self.norm(out) + out * (x.amax() > 1)).mean(dim=(2, 3)))


def test_a_layer_that_is_used_twice_is_not_folded_even_where_that_makes_no_difference() -> None:
    model = settled(Masked())
    twin = search_twin(model, X)
    assert norms(twin.search) == 1
    assert torch.allclose(twin.searched(X + 1), model(X + 1), rtol=1e-4, atol=1e-5)


class Residual(nn.Module):
    """Functions between layers, one of them reused, and two branches that wait for each other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(2))
        self.one, self.two, self.act, self.head = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.ReLU(), nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.first(x), self.second(x)
        both = self.act(self.two(right)) + F.relu(self.one(left)) + x
        return cast("Tensor", self.head(self.act(both).mean(dim=(2, 3))))


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        Residual,
        lambda: resnet18(num_classes=5),
        lambda: timm.create_model("resnet10t", num_classes=5),
        lambda: timm.create_model("efficientnet_lite0", num_classes=5),
    ],
)
def test_ordinary_networks_are_folded_whole(make: Callable[[], nn.Module]) -> None:
    model, x = settled(make()), torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    twin = search_twin(model, x)
    assert norms(twin.search) == 0
    assert not any(part.training for part in cast("nn.Module", twin.search).modules())
    ours, theirs = twin.searched(x), model(x)
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


def test_a_path_that_was_not_seen_is_left_to_the_model() -> None:
    model = settled(Normed(lambda _, x, __: len(x) <= 2))
    twin = search_twin(model, X)
    assert norms(twin.search) == 0
    for x in (X, X[:2], X[:5], X[:1]):
        assert torch.allclose(twin.searched(x), model(x), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(twin.searched(X), model(X))


def doubled(kind: str) -> nn.Module:
    """Layers that a pass meets otherwise than the pass before."""

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.act, self.pool = (
                nn.Conv2d(3, 5, 3),
                nn.BatchNorm2d(5),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )

        def forward(self, x: Tensor) -> Tensor:
            out = self.conv(x)
            if len(x) > 2 and kind == "norm of another":
                out = self.norm(out * 2)
            elif len(x) > 2 and kind == "act of the input":
                return cast("Tensor", (self.pool(self.norm(out)).mean(dim=(2, 3)) + self.act(x).mean()))
            elif len(x) > 2 and kind == "no pooling":
                return cast("Tensor", self.act(self.norm(out)).mean(dim=(2, 3)))
            else:
                out = self.norm(out)
            return cast("Tensor", self.pool(self.act(out)).mean(dim=(2, 3)))

    return settled(Other())


@pytest.mark.parametrize("kind", ["norm of another", "act of the input", "no pooling"])
def test_layers_that_meet_others_than_before_are_left_to_the_model(kind: str) -> None:
    model, x = doubled(kind), X.clone().requires_grad_()
    twin = search_twin(model, X)
    assert norms(twin.search) == 0
    ours, theirs = twin.searched(x), model(x)
    assert torch.equal(ours, theirs)
    assert torch.equal(torch.autograd.grad(ours.sum(), x)[0], torch.autograd.grad(theirs.sum(), x)[0])
    assert torch.allclose(twin.searched(X[:2]), model(X[:2]), rtol=1e-4, atol=1e-5)
    narrow = search_twin(model, X, dtype=torch.bfloat16)
    assert torch.equal(narrow.searched(X), model(X.bfloat16().float()))


class Rectified(nn.Module):
    """Rectifies what a convolution returns, in large batches the input as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 5, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", (self.act(self.conv(x)) + (self.act(x).mean() if len(x) > 2 else 0)).mean(dim=(2, 3)))


def test_nothing_is_written_over_that_is_another_layers() -> None:
    model, x = settled(Rectified()), X - 0.5
    assert torch.equal(search_twin(model, x).searched(x), model(x))
    assert torch.equal(x, X - 0.5)


class Tied(nn.Module):
    """One layer under two names, and one weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3)
        self.again, self.b.weight = self.a, self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.b(self.norm(self.again(x))).mean(dim=(2, 3)))


def test_layers_with_two_names_and_shared_weights_are_folded_alone() -> None:
    model = settled(Tied())
    before = copy.deepcopy(model.state_dict())
    twin = search_twin(model, X)
    assert norms(twin.search) == 0
    assert torch.allclose(twin.searched(X), model(X), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_compiled_models_are_left_alone() -> None:
    def backend(module: object, _: object) -> object:
        compiled.append(module)
        return module.forward  # type: ignore[attr-defined]

    compiled: list[object] = []
    model = torch.compile(settled(Residual()), backend=backend)
    assert not search_twin(model, X).distinct
    assert not compiled


@pytest.mark.slow
def test_attacking_again_and_again_keeps_nothing() -> None:
    model = settled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(192, 3)))
    attack, x, y = FGSM(ThreatModel(Linf(), 0.1)), X[:1], torch.zeros(1, dtype=torch.int64)

    def held() -> tuple[int, int]:
        gc.collect()
        return len(gc.get_objects()), len(linecache.cache)

    for _ in range(3):
        attack(model, x, y)
    things, lines = held()
    for _ in range(200):
        attack(model, x, y)
    now, lines_now = held()
    assert lines_now == lines
    assert now - things < 100
