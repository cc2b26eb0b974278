"""What cameras and files do: low contrast, coarse pixels, JPEG compression."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustlab.corruptions.kind import Draws, Kind
from robustlab.corruptions.severity import Constants


def contrast(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Pulls every channel towards its mean m: m + c (x - m)."""
    del draws
    (factor,) = constants
    return torch.lerp(x.mean(dim=(2, 3), keepdim=True), x, factor)


class _Boxes(NamedTuple):
    """How one dimension is made coarse."""

    means: Tensor
    """From pixels to means over boxes (small, side), float64."""
    repeats: Tensor
    """For every pixel, the box that it shows (side,), int64."""


def pixelate(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Makes images smaller by means over boxes, and large again by repeating them.

    Both passes of the reduction round to eight bits, as Pillow does.
    """
    del draws
    (share,) = constants
    rows, columns = (_boxes(side, int(side * share)) for side in x.shape[-2:])
    narrow = _levels(_levels(x * 255) @ columns.means.to(x).mT)
    small = _levels(rows.means.to(x) @ narrow).div_(255)
    return small.index_select(3, columns.repeats.to(x.device)).index_select(2, rows.repeats.to(x.device))


def _levels(x: Tensor) -> Tensor:
    """The nearest whole numbers, halves upwards; in place."""
    return x.add_(0.5).floor_()


@lru_cache(maxsize=64)
def _boxes(side: int, small: int) -> _Boxes:
    """A sample belongs to the box that it is nearest to the middle of, and to the earlier one if it is between two."""
    scale = side / small
    away = (np.arange(side) + 0.5 - (np.arange(small)[:, None] + 0.5) * scale) / scale
    inside = ((away > -0.5) & (away <= 0.5)).astype(float)
    repeats = ((np.arange(side) + 0.5) / scale).astype(np.int64)
    return _Boxes(torch.from_numpy(inside / inside.sum(1, keepdims=True)), torch.from_numpy(repeats))


def smallest_side(constants: Constants) -> int:
    """The smallest side of which one pixel is left."""
    return math.ceil(1 / constants[0])


def jpeg_compression(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Saves and loads images as JPEG files in memory, with the colours at half the resolution; on the CPU."""
    del draws
    quality = int(constants[0])
    levels = _levels(x * 255).to(device="cpu", dtype=torch.uint8).contiguous()
    threads = min(len(levels), torch.get_num_threads())
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            files = list(pool.map(lambda image: _through_jpeg(image, quality), levels))
    else:
        files = [_through_jpeg(image, quality) for image in levels]
    return torch.stack(files).to(x).div_(255)


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    """One image (C, H, W) in eight bits, compressed and decompressed."""
    from torchvision.io import decode_jpeg, encode_jpeg

    loaded: Tensor = decode_jpeg(encode_jpeg(image, quality))
    return loaded


KINDS = (
    Kind("contrast", "digital", contrast),
    Kind("pixelate", "digital", pixelate, smallest=smallest_side),
    Kind("jpeg_compression", "digital", jpeg_compression),
)
