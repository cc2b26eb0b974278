"""Digital corruptions: low contrast, coarse pixels, JPEG compression."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.corruptions.jpeg import jpeg_compression
from robustlab.corruptions.kind import Draws, Kind
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.suite import register


def contrast(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Pulls every channel towards its mean m: m + c (x - m)."""
    del draws
    (factor,) = constants
    return torch.lerp(x.mean(dim=(2, 3), keepdim=True), x, factor)


class _Boxes(NamedTuple):
    """Boxes of one dimension for coarse pixels."""

    taps: Tensor
    """The pixels of every box (small, most in a box), int64; narrower boxes have others with weight 0."""
    weights: Tensor
    """Their weights in the mean (small, most in a box), float64."""
    repeats: Tensor
    """For every pixel, the box that it shows (side,), int64."""
    nearest: Tensor
    """The same if the way is summed up pixel by pixel, as Pillow does it for the nearest pixel."""


def pixelate(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Shrinks images by means over boxes, in eight bits, and enlarges them by repeating pixels.

    Pillow, which the source uses, rounds between rows and columns, too: single values may differ by one level.
    """
    del draws
    levels, (rows, columns) = _coarse(x, *constants)
    return _repeated(levels, rows.repeats, columns.repeats)


def pixelate_nearest(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """The same, enlarged as in the library imagecorruptions: by the nearest pixel instead of by boxes.

    Both agree up to rounding: a pixel divided in the middle by the edge of a box may show either side.
    """
    del draws
    levels, (rows, columns) = _coarse(x, *constants)
    return _repeated(levels, rows.nearest, columns.nearest)


def _coarse(x: Tensor, fraction: float) -> tuple[Tensor, tuple[_Boxes, _Boxes]]:
    """Levels 0..255 of the small images, transposed (N, C, small W, small H), and the boxes of rows and columns."""
    rows, columns = (_boxes(side, int(side * fraction)) for side in x.shape[-2:])
    small = _fewer_rows(_fewer_rows(x, rows).mT, columns)
    return small.mul_(255).add_(0.5).to(torch.uint8), (rows, columns)


def _repeated(levels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    wide = levels.index_select(2, columns.to(levels.device)).mT.contiguous()
    return wide.index_select(2, rows.to(levels.device))


def _fewer_rows(x: Tensor, boxes: _Boxes) -> Tensor:
    """The mean rows of all boxes (N, C, small, W) of images (N, C, H, W), in one pass over the memory."""
    (count, channels, height, width), small = x.shape, len(boxes.taps)
    first = torch.arange(count * channels, device=x.device)[:, None, None] * height
    taps = (first + boxes.taps.to(x.device)).flatten(0, 1)
    weights = boxes.weights.to(x).repeat(count * channels, 1)
    means = F.embedding_bag(taps, x.reshape(-1, width), per_sample_weights=weights, mode="sum")
    return means.view(count, channels, small, width)


@lru_cache(maxsize=64)
def _boxes(side: int, small: int) -> _Boxes:
    """Boxes between pixels or through the middle of some, which go to one of two boxes as in Pillow's arithmetic."""
    scale = side / small
    pixels, middles = np.arange(side), (np.arange(small)[:, None] + 0.5) * scale
    within = (pixels >= (middles - scale / 2 + 0.5).astype(int)) & (pixels < (middles + scale / 2 + 0.5).astype(int))
    away = (pixels - middles + 0.5) * (1 / scale)
    inside = torch.from_numpy(within & (away > -0.5) & (away <= 0.5))
    counts = inside.sum(1, keepdim=True, dtype=torch.float64)
    steps = torch.arange(int(counts.max()))
    taps = inside.int().argmax(1, keepdim=True) + steps
    weights = torch.where(steps < counts, 1 / counts, 0)
    repeats = torch.from_numpy(((pixels + 0.5) * (small / side)).astype(np.int64))
    positions = np.add.accumulate([0.5 * (small / side), *[small / side] * (side - 1)])
    return _Boxes(taps.clamp(max=side - 1), weights, repeats, torch.from_numpy(positions.astype(np.int64)))


def smallest_side(constants: Constants) -> int:
    """The smallest side that leaves one pixel."""
    return math.ceil(1 / constants[0])


register(
    Kind("contrast", "digital", contrast),
    Kind("pixelate", "digital", pixelate, smallest=smallest_side, others=(("imagecorruptions", pixelate_nearest),)),
    Kind("jpeg_compression", "digital", jpeg_compression, portions=8),
)
