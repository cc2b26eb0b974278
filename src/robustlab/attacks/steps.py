"""Step rules: from gradients to moves. Each is a pair of pure functions; its memory is in its state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeAlias, TypeVar, cast

import torch
from torch import Tensor

from robustlab.core import L1, Norm
from robustlab.core.kinds import typed
from robustlab.core.norms import per_example

_FREE = (-math.inf, math.inf)
_FEWEST, _MOST = 0.01, 0.1  # fraction of all values that a step in L1 moves
_FURTHEST = 1 / 6  # of the width of the bounds: largest move of one of them, unless the step needs more

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


class _Sized(NamedTuple):
    """Length of steps, kept in the state, and its product with directions."""

    init: Callable[[Tensor], Memory]
    of: Callable[[Memory], float | Tensor]
    """The length of all examples, or one of each (N, 1, ..., 1)."""

    @staticmethod
    def by(size: Size) -> _Sized:
        if isinstance(size, float):
            return _Sized(lambda _: (), lambda _: size)
        sizes = torch.tensor(size, dtype=torch.float64)
        return _Sized(lambda x: (per_example(sizes, x),), lambda memory: memory[0])

    def scaled(self, direction: Tensor, memory: Memory) -> Tensor:
        return direction.mul_(self.of(memory))


def alike(grad: Tensor, count: int | Tensor) -> Tensor:
    """The signs of the values with the largest gradients, divided by their number: a direction of L1 size 1.

    Args:
        grad: (N, ...).
        count: number of values, 1 to D, for all or for each example (N,); ties at the last place are all in, and values
            without gradient are not.
    """
    size = grad.abs().flatten(1)
    rows = torch.as_tensor(count, device=grad.device).expand(len(size))
    most = count if isinstance(count, int) else int(rows.max())
    least = size.topk(most, dim=1).values.gather(1, rows[:, None] - 1)
    sign = grad.sign().masked_fill_((size < least).reshape(grad.shape), 0)
    return L1().normalise(sign)


def uphill(norm: Norm, grad: Tensor, size: float | Tensor, furthest: float) -> Tensor:
    """Direction of a step of a given size.

    That is the steepest one, except in L1, where it would be that of a single value, which its bound soon stops: there
    the step goes alike to the values with the largest gradients, so many that none moves too far, but at least a
    hundredth of all values, and at most a tenth.

    Args:
        norm: of the step.
        grad: of the score (N, ...); may be overwritten.
        size: of the step, in input units: of all examples, or of each (N, 1, ..., 1).
        furthest: largest move of a value by a step in L1, in input units; may be infinite.

    Source: Tramer, Boneh, Adversarial Training and Robustness for Multiple Perturbations, NeurIPS 2019 (SLIDE), for the
    values with the largest gradients; docs/decisions/0014-l1-steps.md for their number.
    """
    if not isinstance(norm, L1):
        return norm.steepest_(grad)
    fewest, most = (max(1, int(fraction * grad[0].numel())) for fraction in (_FEWEST, _MOST))
    wanted = size / furthest
    if isinstance(wanted, Tensor):
        return alike(grad, wanted.reshape(-1).ceil().clamp(fewest, most).long())
    return alike(grad, min(max(math.ceil(wanted), fewest), most))


@typed
def steepest(
    norm: Norm, size: Size, bounds: tuple[float, float] = _FREE, *, furthest: float = _FURTHEST
) -> Step[Memory]:
    """Moves by ``size`` uphill.

    Args:
        norm: for Linf it moves by the sign of the gradient, for L2 along the gradient, for L1 as in ``uphill``.
        size: length of the move.
        bounds: of the inputs; may be infinite.
        furthest: largest move of a value by a step in L1, as a fraction of the width of the bounds.
    """
    far = furthest * (bounds[1] - bounds[0])
    sized = _Sized.by(size)
    return Step(
        sized.init,
        lambda grad, memory: (sized.scaled(uphill(norm, grad, sized.of(memory), far), memory), memory),
    )


@typed
def momentum(norm: Norm, size: Size, decay: float, bounds: tuple[float, float] = _FREE) -> Step[Memory]:
    """Moves along a decaying sum of gradients, each divided by its L1 size.

    m <- decay * m + g / ||g||_1,   move = size * steepest(m), for L1 as in ``uphill``

    Source: Dong et al., Boosting Adversarial Attacks with Momentum, CVPR 2018, equations 6 and 7.
    """
    sized = _Sized.by(size)

    far = _FURTHEST * (bounds[1] - bounds[0])

    def update(grad: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        total, rest = memory[0] * decay + L1().normalise(grad), memory[1:]
        return sized.scaled(uphill(norm, total.clone(), sized.of(rest), far), rest), (total, *rest)

    return Step(lambda x: (torch.zeros_like(x), *sized.init(x)), update)


class Optimizer(Protocol):
    """A factory of a step rule that maximises the score."""

    def rule(self) -> Step[Any]:
        """The step rule."""


@typed
@dataclass(frozen=True)
class SGD:
    """Gradient ascent, optionally with heavy-ball momentum.

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


@typed
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
    (first, second), sized = betas, _Sized.by(lr)

    def update(grad: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        mean, square, count, *size = memory
        count = count + 1
        mean = mean * first + grad * (1 - first)
        square = square * second + grad.square() * (1 - second)
        root = (square / (1 - second**count)).sqrt_().add_(eps)
        return sized.scaled(mean / (1 - first**count) / root, tuple(size)), (mean, square, count, *size)

    return Step(lambda x: (*(torch.zeros_like(part) for part in (x, x, _one_value(x))), *sized.init(x)), update)


@typed
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


@typed
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
