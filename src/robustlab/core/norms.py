"""Norms as objects with size, projection, steepest direction, unit length and uniform draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from robustlab.core.random import Streams

Radius: TypeAlias = float | Tensor
"""A radius >= 0 in input units: one for all examples, or one per example (N,)."""


class Norm(Protocol):
    """Norm on perturbations; all tensors have examples first."""

    def size(self, delta: Tensor) -> Tensor:
        """The norm of each perturbation (N,), in the dtype of ``delta``."""

    def project(self, delta: Tensor, eps: Radius) -> Tensor:
        """The nearest point, in the Euclidean sense, of the ball of radius eps."""

    def project_box(self, delta: Tensor, eps: Radius, low: Tensor, high: Tensor) -> Tensor:
        """A point of the ball that is also within ``low <= delta <= high``, where ``low <= 0 <= high``."""

    def steepest(self, grad: Tensor) -> Tensor:
        """The unit-norm direction along which a function with this gradient grows most; 0 where the gradient is 0."""

    def steepest_(self, grad: Tensor) -> Tensor:
        """The same, written over the gradient."""

    def normalise(self, delta: Tensor) -> Tensor:
        """The perturbation divided by its size; 0 stays 0."""

    def sample(self, x: Tensor, eps: Radius, streams: Streams) -> Tensor:
        """A uniform draw from the ball for each example, in the shape and dtype of ``x``."""


def per_example(values: Radius, like: Tensor) -> Tensor:
    """A radius in the shape (N, 1, ..., 1) or (), in the dtype and on the device of ``like``.

    Raises: ValueError if there is one radius per example and their number is not N.
    """
    if isinstance(values, Tensor) and values.ndim:
        if values.shape != like.shape[:1]:
            raise ValueError(f"one eps per example: got {tuple(values.shape)} for {like.shape[0]} examples")
        return values.to(like).reshape(-1, *[1] * (like.ndim - 1))
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1)  # which, unlike reshape, knows what to do without examples


def _length(delta: Tensor, order: float) -> Tensor:
    """The vector norm of each row (N,), without a temporary copy.

    Over one axis torch is up to forty times faster than over several; of the largest value, that has no fast way.
    """
    values = delta.permute(0, *range(2, delta.ndim), 1) if _channels_last(delta) else delta
    values = values.flatten(1)
    if order == torch.inf and values.shape[1]:
        return torch.maximum(values.amax(dim=1), -values.amin(dim=1))
    length: Tensor = torch.linalg.vector_norm(values, order, dim=1)
    return length


def _channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """Numbers per example (N,) in the shape (N, 1, ..., 1)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _checked(eps: Radius) -> Radius:
    if not bool((torch.as_tensor(eps) >= 0).all()):
        raise ValueError(f"a radius must be a number >= 0, got {eps}")
    return eps


def _divisor(size: Tensor, like: Tensor) -> Tensor:
    """Sizes (N,) in the shape (N, 1, ..., 1), with 1 for 0."""
    return _rows(torch.where(size > 0, size, 1), like)


def _divided(delta: Tensor, size: Tensor) -> Tensor:
    return delta / _divisor(size, delta)


@dataclass(frozen=True)
class Linf:
    """The largest absolute change of any input value.

    size(d) = max_i |d_i|,   steepest(g) = sign(g)
    """

    def __str__(self) -> str:
        return "Linf"

    def size(self, delta: Tensor) -> Tensor:
        """max_i |d_i|, (N,)."""
        return _length(delta, torch.inf)

    def project(self, delta: Tensor, eps: Radius) -> Tensor:
        """Clamps each value to [-eps, eps]."""
        radius = per_example(_checked(eps), delta)
        return torch.clamp(delta, -radius, radius)

    def project_box(self, delta: Tensor, eps: Radius, low: Tensor, high: Tensor) -> Tensor:
        """The exact projection: an Linf ball is a box itself."""
        return torch.clamp(self.project(delta, eps), low, high)

    def steepest(self, grad: Tensor) -> Tensor:
        """sign(g)."""
        return grad.sign()

    def steepest_(self, grad: Tensor) -> Tensor:
        """sign(g), in place."""
        return grad.sign_()

    def normalise(self, delta: Tensor) -> Tensor:
        """d / max_i |d_i|."""
        return _divided(delta, self.size(delta))

    def sample(self, x: Tensor, eps: Radius, streams: Streams) -> Tensor:
        """Each value uniform in [-eps, eps)."""
        draw = streams.uniform(x.shape[1:], dtype=x.dtype).mul_(2).sub_(1)
        return draw.mul_(per_example(_checked(eps), x))


@dataclass(frozen=True)
class L2:
    """The Euclidean length of the change.

    size(d) = sqrt(sum_i d_i**2),   steepest(g) = g / ||g||_2

    Example:
        >>> L2().project(torch.tensor([[3.0, 4.0]]), 1.0)
        tensor([[0.6000, 0.8000]])
    """

    def __str__(self) -> str:
        return "L2"

    def size(self, delta: Tensor) -> Tensor:
        """sqrt(sum_i d_i**2), (N,)."""
        return _length(delta, 2)

    def project(self, delta: Tensor, eps: Radius) -> Tensor:
        """Scales down what is longer than eps; rows already inside come back unchanged."""
        radius = per_example(_checked(eps), delta)
        size = _rows(self.size(delta), delta)
        return torch.where(size > radius, delta * (radius / torch.where(size > 0, size, 1)), delta)

    def project_box(self, delta: Tensor, eps: Radius, low: Tensor, high: Tensor) -> Tensor:
        """Onto the ball, then clamped: clamping towards 0 cannot leave the ball."""
        return torch.clamp(self.project(delta, eps), low, high)

    def steepest(self, grad: Tensor) -> Tensor:
        """g / ||g||_2, safe where squares of small numbers would underflow."""
        return self.steepest_(grad.clone())

    def steepest_(self, grad: Tensor) -> Tensor:
        """g / ||g||_2, in place."""
        grad.div_(_divisor(_length(grad, torch.inf), grad))
        return grad.div_(_divisor(_length(grad, 2), grad))

    def normalise(self, delta: Tensor) -> Tensor:
        """d / ||d||_2."""
        return _divided(delta, self.size(delta))

    def sample(self, x: Tensor, eps: Radius, streams: Streams) -> Tensor:
        """A normal direction with a length of eps * u**(1 / D)."""
        dims = x[0].numel()
        direction = self.normalise(streams.normal(x.shape[1:], 0, dtype=torch.float64))
        length = streams.uniform((), 1, dtype=torch.float64) ** (1 / dims)
        return (direction * _rows(length, x) * per_example(_checked(eps), direction)).to(x.dtype)


@dataclass(frozen=True)
class L1:
    """The sum of the absolute changes.

    size(d) = sum_i |d_i|,   steepest(g) = sign(g_j) e_j with j = argmax |g_j| (ties share)
    """

    def __str__(self) -> str:
        return "L1"

    def size(self, delta: Tensor) -> Tensor:
        """sum_i |d_i|, (N,)."""
        return _length(delta, 1)

    def project(self, delta: Tensor, eps: Radius) -> Tensor:
        """Soft thresholding: sign(d) max(|d| - t, 0), with the smallest t >= 0 that fits."""
        return self._shrunk(delta, eps, delta.abs())

    def project_box(self, delta: Tensor, eps: Radius, low: Tensor, high: Tensor) -> Tensor:
        """The exact projection onto the intersection of ball and box.

        Source: Croce, Hein, Mind the Box: l1-APGD for Sparse Adversarial Attacks, ICML 2021, Proposition 2.1.
        """
        cap = torch.where(delta > 0, high, -low)
        return self._shrunk(delta, eps, torch.minimum(cap, delta.abs()))

    def _shrunk(self, delta: Tensor, eps: Radius, cap: Tensor) -> Tensor:
        """sign(d) clamp(|d| - t, 0, cap) with the smallest t >= 0 that fits."""
        size, cap64 = _flat(delta).abs().double(), _flat(cap).double()
        radius = per_example(_checked(eps), size).expand(size.shape[0], 1)
        threshold = _rows(_threshold(size, cap64, radius), delta).to(delta.dtype)
        return delta.sign() * torch.minimum((delta.abs() - threshold).clamp_min(0), cap)

    def steepest(self, grad: Tensor) -> Tensor:
        """All mass on the largest absolute value; ties share it."""
        size = grad.abs()
        top = (size == _rows(Linf().size(grad), grad)) & (size > 0)
        return self.normalise(torch.where(top, grad.sign(), 0))

    def steepest_(self, grad: Tensor) -> Tensor:
        """The same, in place."""
        return grad.copy_(self.steepest(grad))

    def normalise(self, delta: Tensor) -> Tensor:
        """d / sum_i |d_i|."""
        return _divided(delta, self.size(delta))

    def sample(self, x: Tensor, eps: Radius, streams: Streams) -> Tensor:
        """Signed exponential draws over the sum of themselves and one more."""
        flat = (x[0].numel() + 1,)
        draws = -torch.log1p(-streams.uniform(flat, 0, dtype=torch.float64))
        fractions = draws[:, :-1] / draws.sum(dim=1, keepdim=True)
        sign = streams.integers(2, flat, 1)[:, :-1] * 2 - 1
        delta = (fractions * sign).reshape(x.shape)
        return (delta * per_example(_checked(eps), delta)).to(x.dtype)


def _threshold(size: Tensor, cap: Tensor, eps: Tensor) -> Tensor:
    """The smallest t >= 0 with sum_i clamp(size_i - t, 0, cap_i) <= eps, for ``0 <= cap <= size``, (N,).

    The sum falls with t, linearly between the points where a value leaves its cap (size - cap) or reaches 0 (size).
    """
    points, order = torch.cat([size - cap, size], dim=1).sort(dim=1)
    change = torch.cat([-torch.ones_like(size), torch.ones_like(size)], dim=1).gather(1, order)
    slope = change.cumsum(dim=1)
    drop = (slope[:, :-1] * (points[:, 1:] - points[:, :-1])).cumsum(dim=1)
    total = torch.cat([torch.zeros_like(eps), drop], dim=1) + cap.sum(dim=1, keepdim=True)
    last = ((total > eps).sum(dim=1, keepdim=True) - 1).clamp_min(0)
    start, value, fall = points.gather(1, last), total.gather(1, last), -slope.gather(1, last)
    threshold = start + (value - eps) / fall.clamp_min(1)
    return torch.where(cap.sum(dim=1, keepdim=True) > eps, threshold, 0)[:, 0]
