"""SmoothGrad: the mean gradient of noisy copies of the input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.case import Case
from robustlab.explain.registry import METHODS, MethodSpec

_PURPOSE = 0x536D6F6F  # of the random numbers: the noise of a check or of an attack is another one


@typed
@dataclass(frozen=True)
class SmoothGrad:
    """Mean gradient at copies of the input with normal noise.

    ``mean_k grad score(x + sigma * range(x) * z_k)`` with ``range(x) = max(x) - min(x)`` of the example: one of a
    single value gets no noise, and its plain gradient. The noise of an example depends on seed and id, not on its
    batch. Source: Smilkov, Thorat, Kim, Viegas, Wattenberg, SmoothGrad, 2017.

    Args:
        draws: noisy copies per example, at least 1.
        sigma: standard deviation of the noise, as a share of the example's range of values, at least 0.
        squared: takes the mean of the squared gradients, which shows importance without its sign.
        clip: lowest and highest value of the copies, such as (0, 1); None: any, as in the paper.

    Raises: ValueError for numbers out of these ranges.
    """

    draws: int = 50
    sigma: float = 0.15
    squared: bool = False
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"SmoothGrad: draws must be at least 1, got {self.draws}")
        if not 0 <= self.sigma < math.inf:
            raise ValueError(f"SmoothGrad: sigma must be at least 0 and finite, got {self.sigma}")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ValueError(f"SmoothGrad: clip must be a lower and a higher number, got {self.clip}")

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, ...), in at least float32."""
        total = torch.zeros_like(case.x, dtype=torch.promote_types(case.x.dtype, torch.float32))
        for first in range(0, self.draws, case.copies):
            draws = range(first, min(first + case.copies, self.draws))
            points = torch.cat([self.noisy(case, draw) for draw in draws])
            grad = case.gradient(points, case.rows(len(draws))).to(total.dtype)
            total += (grad.square_() if self.squared else grad).reshape(len(draws), *total.shape).sum(0)
        return total.div_(self.draws)

    def noisy(self, case: Case, draw: int) -> Tensor:
        """The noisy copies of one draw (N, ...)."""
        x = case.x
        noise = case.streams.fork(_PURPOSE).normal(x.shape[1:], draw, dtype=torch.promote_types(x.dtype, torch.float32))
        low, high = x.flatten(1).aminmax(dim=1)
        size = (self.sigma * (high - low)).to(noise.dtype).reshape(-1, *[1] * (x.ndim - 1))
        points = torch.empty_like(x).copy_(noise.mul_(size).add_(x))
        return points if self.clip is None else points.clamp_(*self.clip)


METHODS.register("smoothgrad", MethodSpec(SmoothGrad, "mean gradient of noisy copies"))
