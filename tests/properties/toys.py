"""Models of a lecture: a sum, a mean, one weight, a constant, and others whose gradients autograd makes in odd ways.

Each takes (N, ...) of any shape with at least four values and gives logits of at least two classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

Toy = Callable[[Tensor], Tensor]


def _two(score: Tensor) -> Tensor:
    """Logits of two classes of which the first is ahead where a score (N,) is below 0."""
    return torch.stack([-score, score], dim=1)


def total(x: Tensor) -> Tensor:
    return _two(x.flatten(1).sum(1) - 24)


def mean(x: Tensor) -> Tensor:
    return _two(x.flatten(1).mean(1) - 0.5)


def largest(x: Tensor) -> Tensor:
    return _two(x.flatten(1).amax(1) - 0.95)


def one_pixel(x: Tensor) -> Tensor:
    return _two(x.flatten(1)[:, 3] - 0.5)


def constant(x: Tensor) -> Tensor:
    return torch.tensor([1.0, 2.0, 0.5], dtype=x.dtype).repeat(len(x), 1)


def expanded(x: Tensor) -> Tensor:
    """All classes alike, in memory that they share."""
    return x.flatten(1).sum(1, keepdim=True).expand(-1, 3)


def itself(x: Tensor) -> Tensor:
    """Logits that are the memory of the input."""
    return x.flatten(1)


def part_of_itself(x: Tensor) -> Tensor:
    return x.flatten(1)[:, :4]


def detached(x: Tensor) -> Tensor:
    return x.detach().flatten(1)[:, :3] * torch.ones(3, dtype=x.dtype, requires_grad=True)


def narrow(x: Tensor) -> Tensor:
    """Logits of another precision than the input."""
    return total(x).to(torch.bfloat16)


def steps(x: Tensor) -> Tensor:
    return _two((x.flatten(1) > 0.5).to(x.dtype).mean(1) - 0.5)


def rootlike(x: Tensor) -> Tensor:
    """Infinite slopes at 0."""
    return _two(x.flatten(1).clamp_min(0).sqrt().mean(1) - 0.65)


class OneWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return _two(self.weight.to(x.dtype) * (x.flatten(1).mean(1) - 0.5))


class BiasAlone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.to(x.dtype).expand(len(x), 3)


class Linear(nn.Module):
    """Without a bias."""

    def __init__(self) -> None:
        super().__init__()
        waves = torch.sin(torch.arange(1.0, 4.0).outer(torch.arange(1.0, 49.0))).double()
        self.weight = nn.Parameter(waves)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.flatten(1), self.weight.to(x.dtype))


class _Kept(torch.autograd.Function):
    """A sum whose gradient is a tensor that other code keeps."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return (x.flatten(1) * slope.flatten(1)).sum(1)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004 -- that is the fault
        (slope,) = cast("tuple[Tensor]", ctx.saved_tensors)  # type: ignore[attr-defined]
        return slope, None


class Shared(nn.Module):
    """The gradient is a buffer of the model, one number of which is no number."""

    slope: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slope", torch.zeros(0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        if self.slope.shape != x.shape:
            self.slope = (
                torch.linspace(0.5, 1.5, x[0].numel(), dtype=x.dtype)
                .reshape(x[:1].shape)
                .repeat(len(x), *[1] * (x.ndim - 1))
            )
        return _two(cast("Tensor", _Kept.apply(x, self.slope)) - 24)


TOYS: dict[str, Toy] = {
    **{
        toy.__name__: toy
        for toy in (
            total, mean, largest, one_pixel, constant, expanded, itself, part_of_itself, detached, narrow, steps,
            rootlike,
        )
    },
    "one weight": OneWeight().eval(),
    "bias alone": BiasAlone().eval(),
    "linear": Linear().eval(),
}  # fmt: skip
ODDEST = ("total", "expanded", "itself", "bias alone", "rootlike")
"""Those that every attack is tried on; the others take turns."""
