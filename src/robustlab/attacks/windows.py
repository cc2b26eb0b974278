"""Windows in images, signals or rows of values: their places, and the patterns of random search in them."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

Sides = tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """Spatial layout of the values of one example.

    Args:
        channels: values at one place.
        sides: extent in each direction, in places: (height, width) of images, (length,) of signals.
    """

    channels: int
    sides: Sides

    @staticmethod
    def of(shape: tuple[int, ...]) -> Grid:
        """The first axis holds channels, as in (C, H, W) or (C, L), unless it is the only one."""
        return Grid(1, tuple(shape)) if len(shape) == 1 else Grid(shape[0], tuple(shape[1:]))

    def window(self, fraction: float, *, least: int = 1, odd: bool = False) -> Sides:
        """The sides of a window that covers a fraction of the grid and has its proportions.

        Args:
            fraction: fraction of all places, in (0, 1].
            least: smallest side.
            odd: True to make sides odd by adding one.
        """
        factor = fraction ** (1 / len(self.sides))
        sides = [max(round(factor * side), least) for side in self.sides]
        return tuple(min(side + (odd and side % 2 == 0), limit) for side, limit in zip(sides, self.sides, strict=True))

    def places(self, window: Sides, draws: Tensor) -> Tensor:
        """The places (N, 1, S) of a window whose position in each direction follows a uniform draw (N, D) in [0, 1)."""
        corner = ((draws * _free(self.sides, window, draws.device)).long() * _strides(self.sides, draws.device)).sum(1)
        return (corner[:, None] + self.offsets(window, draws.device))[:, None]

    def offsets(self, window: Sides, device: torch.device) -> Tensor:
        """The places (S,) of a window at the origin."""
        return _offsets(self.sides, window, device)

    def tiles(self, parts: int) -> list[tuple[Sides, int]]:
        """Windows side by side, ``parts`` in each direction if there is room: their sides, and where each begins."""
        own = tuple(max(side // parts, 1) for side in self.sides)
        first = [(side - tile * min(parts, side)) // 2 for side, tile in zip(self.sides, own, strict=True)]
        starts = [
            range(start, start + tile * min(parts, side), tile)
            for side, tile, start in zip(self.sides, own, first, strict=True)
        ]
        strides = _strides(self.sides, torch.device("cpu")).tolist()
        return [(own, sum(map(math.prod, zip(corner, strides, strict=True)))) for corner in itertools.product(*starts)]


# A search uses the same few windows thousands of times.
@functools.lru_cache(maxsize=64)
def _offsets(sides: Sides, window: Sides, device: torch.device) -> Tensor:
    inside = torch.cartesian_prod(*[torch.arange(side, device=device) for side in window])
    return (inside.reshape(-1, len(window)) * _strides(sides, device)).sum(dim=1)


@functools.lru_cache(maxsize=64)
def _free(sides: Sides, window: Sides, device: torch.device) -> Tensor:
    """Number of places at which a window can begin, in each direction (D,)."""
    return torch.tensor([side - own + 1 for side, own in zip(sides, window, strict=True)], device=device)


@functools.lru_cache(maxsize=64)
def _strides(sides: Sides, device: torch.device) -> Tensor:
    return torch.tensor([math.prod(sides[axis + 1 :]) for axis in range(len(sides))], device=device)


@functools.lru_cache(maxsize=64)
def two_peaks(window: Sides, order: int) -> Tensor:
    """Patterns with a peak in one half of a window and its negative in the other half, (D, S) float64.

    Pattern d is divided across direction d. A peak falls with the distance r from the middle of its half, in the
    largest of all directions, as ``sum_{j >= r} 1 / (j + 1)**p``, p = 2 for order 2 and 4 for order 1. The halves have
    the same size, and the whole has size 1, in the norm of that order.

    Source: Andriushchenko et al., Square Attack, ECCV 2020, section 3.3; for L1 Croce, Hein, Mind the Box, ICML 2021.
    """
    patterns, power = [], 4 // order
    for axis, side in enumerate(window):
        halves = [
            _unit(_peak((*window[:axis], part, *window[axis + 1 :]), power), order)
            for part in (side // 2, -(-side // 2))
        ]
        patterns.append(_unit(torch.cat([halves[0], -halves[1]], dim=axis), order).flatten())
    return torch.stack(patterns)


def _unit(values: Tensor, order: int) -> Tensor:
    return values / torch.linalg.vector_norm(values, order) if values.numel() else values


def _peak(sides: Sides, power: int) -> Tensor:
    far = torch.zeros(sides, dtype=torch.int64)
    for axis, side in enumerate(sides):
        along = (torch.arange(side) - side // 2).abs()
        far = torch.maximum(far, along.reshape(-1, *[1] * (len(sides) - axis - 1)))
    rings = torch.arange(1, max(side // 2 for side in sides) + 2, dtype=torch.float64) ** -power
    return rings.flip(0).cumsum(0).flip(0)[far]
