"""Step rules: how a gradient becomes a move. Each is a pair of pure functions; what it remembers is in its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeAlias, TypeVar, cast

import torch
from torch import Tensor

from robustlab.core import L1, Norm
from robustlab.core.norms import per_example

Size: TypeAlias = float | tuple[float, ...]
"""A length in input units: one for all examples, or one per example."""
Memory: TypeAlias = tuple[Tensor, ...]
"""State made of tensors with examples first."""


class Sliceable(Protocol):
    """State of another kind, which has a row per example."""

    def take(self, rows: Tensor) -> Self:
        """The rows with these numbers (M,)."""


State = TypeVar("State", bound=Memory | Sliceable)


class Step(NamedTuple, Generic[State]):
    """A step rule."""

    init: Callable[[Tensor], State]
    """From the start (N, ...) to the state before the first step."""
    update: Callable[[Tensor, State], tuple[Tensor, State]]
    """From the gradient of the score (N, ...), which may be overwritten, and the state to the move and next state."""


def taken(state: State, rows: Tensor) -> State:
    """The state of the examples with these numbers (M,)."""
    if isinstance(state, tuple):
        return cast("State", tuple(part[rows] for part in state))
    return state.take(rows)


def _one_value(x: Tensor) -> Tensor:
    """The first value of each example (N, 1, ..., 1)."""
    return x.reshape(len(x), -1)[:, :1].reshape(-1, *[1] * (x.ndim - 1))


def _sized(size: Size) -> tuple[Callable[[Tensor], Memory], Callable[[Tensor, Memory], Tensor]]:
    """How a length is remembered, and how directions are multiplied by it."""
    if isinstance(size, float):
        return lambda _: (), lambda direction, _: direction.mul_(size)
    sizes = torch.tensor(size, dtype=torch.float64)
    return lambda x: (per_example(sizes, x),), lambda direction, memory: direction.mul_(memory[0])


def steepest(norm: Norm, size: Size) -> Step[Memory]:
    """Moves by ``size`` along the direction of steepest ascent; for Linf the sign of the gradient."""
    init, scaled = _sized(size)
    return Step(init, lambda grad, memory: (scaled(norm.steepest_(grad), memory), memory))


def momentum(norm: Norm, size: Size, decay: float) -> Step[Memory]:
    """Moves along a decaying sum of gradients, each divided by its L1 size.

    m <- decay * m + g / ||g||_1,   move = size * steepest(m)

    Source: Dong et al., Boosting Adversarial Attacks with Momentum, CVPR 2018, equations 6 and 7.
    """
    init, scaled = _sized(size)

    def update(grad: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        total = memory[0] * decay + L1().normalise(grad)
        return scaled(norm.steepest(total), memory[1:]), (total, *memory[1:])

    return Step(lambda x: (torch.zeros_like(x), *init(x)), update)


class Optimizer(Protocol):
    """A value that makes a step rule which climbs the score."""

    def rule(self) -> Step[Any]:
        """The step rule."""


@dataclass(frozen=True)
class SGD:
    """Gradient ascent, with heavy-ball momentum if asked for.

    m <- momentum * m + g,   move = lr * m
    """

    lr: float
    momentum: float = 0.0

    def rule(self) -> Step[Memory]:
        """The step rule; its state is m."""
        if not self.momentum:
            return Step(lambda _: (), lambda grad, memory: (grad * self.lr, memory))

        def update(grad: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
            total = memory[0] * self.momentum + grad
            return total * self.lr, (total,)

        return Step(lambda x: (torch.zeros_like(x),), update)


@dataclass(frozen=True)
class Adam:
    """Moves by the mean gradient over its root mean square, both bias-corrected.

    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g**2,  move = lr * m / (1 - b1**t) / (sqrt(v / (1 - b2**t)) + eps)
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def rule(self) -> Step[Memory]:
        """The step rule; its state is (m, v, t)."""
        return adam(float(self.lr), self.betas, self.eps)


def adam(lr: Size, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Step[Memory]:
    """The step rule of ``Adam``, with one learning rate for all or one per example."""
    (first, second), (init, scaled) = betas, _sized(lr)

    def update(grad: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        mean, square, count, *size = memory
        count = count + 1
        mean = mean * first + grad * (1 - first)
        square = square * second + grad.square() * (1 - second)
        root = (square / (1 - second**count)).sqrt_().add_(eps)
        return scaled(mean / (1 - first**count) / root, tuple(size)), (mean, square, count, *size)

    return Step(lambda x: (*(torch.zeros_like(part) for part in (x, x, _one_value(x))), *init(x)), update)


@dataclass(frozen=True)
class RMSprop:
    """Moves by the gradient over its root mean square.

    v <- alpha v + (1 - alpha) g**2,   move = lr * g / (sqrt(v) + eps)
    """

    lr: float
    alpha: float = 0.99
    eps: float = 1e-8

    def rule(self) -> Step[Memory]:
        """The step rule; its state is v."""

        def update(grad: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
            square = memory[0] * self.alpha + grad.square() * (1 - self.alpha)
            return grad / square.sqrt().add_(self.eps) * self.lr, (square,)

        return Step(lambda x: (torch.zeros_like(x),), update)


@dataclass(frozen=True)
class Adagrad:
    """Moves by the gradient over the root of the sum of its squares.

    v <- v + g**2,   move = lr * g / (sqrt(v) + eps)
    """

    lr: float
    eps: float = 1e-10

    def rule(self) -> Step[Memory]:
        """The step rule; its state is v."""

        def update(grad: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
            square = memory[0] + grad.square()
            return grad / square.sqrt().add_(self.eps) * self.lr, (square,)

        return Step(lambda x: (torch.zeros_like(x),), update)
