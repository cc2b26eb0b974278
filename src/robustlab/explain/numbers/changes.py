"""Random changes of inputs, under which maps and scores are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from robustlab.core import Linf, Streams
from robustlab.core.kinds import typed


class Change(Protocol):
    """A value that draws changes of inputs."""

    def __call__(self, x: Tensor, streams: Streams) -> Tensor:
        """One change for each input (N, ...), to be added to it; it is not cut to the bounds of valid inputs."""


@typed
@dataclass(frozen=True)
class GaussianChange:
    """Independent normal noise on each input value.

    Args:
        sigma: standard deviation in input units, > 0.

    Raises: ValueError for another sigma.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        _check("sigma", self.sigma)

    def __call__(self, x: Tensor, streams: Streams) -> Tensor:
        """One change for each input (N, ...)."""
        return streams.normal(x.shape[1:], dtype=x.dtype).mul_(self.sigma)


@typed
@dataclass(frozen=True)
class UniformChange:
    """Independent uniform noise on each input value: a uniform draw from the Linf ball.

    Args:
        radius: largest change of a value in input units, > 0.

    Raises: ValueError for another radius.
    """

    radius: float = 0.02

    def __post_init__(self) -> None:
        _check("radius", self.radius)

    def __call__(self, x: Tensor, streams: Streams) -> Tensor:
        """One change for each input (N, ...)."""
        return Linf().sample(x, self.radius, streams)


@typed
@dataclass(frozen=True)
class SquareChange:
    """Removal of a square of pixels at a random place, in all channels.

    Args:
        side: of the square in pixels, >= 1; as long as the shorter side of the image at most.
        value: new value of the pixels, in input units.

    Raises: ValueError for another side; when called, for inputs that are no images (N, C, H, W).
    """

    side: int = 8
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"side must be a number of pixels >= 1, got {self.side}")

    def __call__(self, x: Tensor, streams: Streams) -> Tensor:
        """One change for each input (N, ...)."""
        if x.ndim != 4:
            raise ValueError(f"squares are removed from images (N, C, H, W), got {tuple(x.shape)}")
        side = min(self.side, *x.shape[2:])
        rows, columns = (_span(streams, size, side, axis) for axis, size in enumerate(x.shape[2:]))
        inside = rows[:, None, :, None] & columns[:, None, None, :]
        return torch.where(inside, self.value - x, 0)


def _span(streams: Streams, size: int, side: int, draw: int) -> Tensor:
    """Mask (N, size) of consecutive places of each example."""
    first = streams.integers(size - side + 1, draw=draw)[:, None]
    place = torch.arange(size, device=first.device)
    return (place >= first) & (place < first + side)


def _check(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number > 0, got {value}")


def check_draws(draws: int) -> None:
    """Checks a number of draws.

    Raises: ValueError for one below 1.
    """
    if draws < 1:
        raise ValueError(f"draws must be a whole number >= 1, got {draws}")
