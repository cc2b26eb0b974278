"""What cameras and files do: low contrast, coarse pixels, JPEG compression."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustlab.corruptions.jpeg import jpeg_compression
from robustlab.corruptions.kind import Draws, Kind
from robustlab.corruptions.severity import Constants


def contrast(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Pulls every channel towards its mean m: m + c (x - m)."""
    del draws
    (factor,) = constants
    return torch.lerp(x.mean(dim=(2, 3), keepdim=True), x, factor)


class _Boxes(NamedTuple):
    """How one dimension is made coarse."""

    taps: Tensor
    """The pixels of every box (most in a box, small), int64; narrower boxes have others with weight 0."""
    weights: Tensor
    """Their weights in the mean (most in a box, small), float64."""
    repeats: Tensor
    """For every pixel, the box that it shows (side,), int64."""


def pixelate(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Makes images smaller by means over boxes, in eight bits, and large again by repeating pixels.

    Pillow, which the source uses, rounds between rows and columns, too: single values may differ by one level.
    """
    del draws
    (share,) = constants
    rows, columns = (_boxes(side, int(side * share)) for side in x.shape[-2:])
    small = _means(_means(x, rows, 2), columns, 3).mul_(255).add_(0.5).to(torch.uint8)
    return _picked(_picked(small, columns.repeats, 3), rows.repeats, 2)


def _means(x: Tensor, boxes: _Boxes, dim: int) -> Tensor:
    """The mean of every box along a dimension, 2 or 3, of images (N, C, H, W)."""
    weights = boxes.weights.to(x)
    total = x.new_zeros(())
    for tap, weight in zip(boxes.taps, weights if dim == 3 else weights[..., None], strict=True):
        total = torch.addcmul(total, _picked(x, tap, dim), weight)
    return total


def _picked(x: Tensor, places: Tensor, dim: int) -> Tensor:
    """Rows or columns of images (N, C, H, W) by their numbers; ``index_select`` is slow at columns."""
    places = places.to(x.device)
    return x.index_select(2, places) if dim == 2 else x.gather(3, places.expand(*x.shape[:3], -1))


@lru_cache(maxsize=64)
def _boxes(side: int, small: int) -> _Boxes:
    """Boxes between pixels or through the middle of some, which Pillow's arithmetic, done here, gives to one of two."""
    scale = side / small
    pixels, middles = np.arange(side), (np.arange(small)[:, None] + 0.5) * scale
    within = (pixels >= (middles - scale / 2 + 0.5).astype(int)) & (pixels < (middles + scale / 2 + 0.5).astype(int))
    away = (pixels - middles + 0.5) * (1 / scale)
    inside = torch.from_numpy(within & (away > -0.5) & (away <= 0.5))
    counts = inside.sum(1, dtype=torch.float64)
    taps = inside.int().argmax(1) + torch.arange(int(counts.max()))[:, None]
    weights = torch.where(torch.arange(len(taps))[:, None] < counts, 1 / counts, 0)
    repeats = torch.from_numpy(((pixels + 0.5) * (small / side)).astype(np.int64))
    return _Boxes(taps.clamp(max=side - 1), weights, repeats)


def smallest_side(constants: Constants) -> int:
    """The smallest side of which one pixel is left."""
    return math.ceil(1 / constants[0])


KINDS = (
    Kind("contrast", "digital", contrast),
    Kind("pixelate", "digital", pixelate, smallest=smallest_side),
    Kind("jpeg_compression", "digital", jpeg_compression, portions=8),
)
