"""What cameras and files do: low contrast, coarse pixels, JPEG compression."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from io import BytesIO
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
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
    small = _means(_means(x, rows, 2), columns, 3).mul_(255).add_(0.5).floor_().div_(255)
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


def jpeg_compression(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Saves and loads images as JPEG files in memory, with the colours at half the resolution; on the CPU."""
    del draws
    quality = int(constants[0])
    levels = x.movedim(1, 3).mul(255).add_(0.5).to(device="cpu", dtype=torch.uint8).contiguous()
    loaded = torch.stack([torch.from_numpy(image) for image in _through_jpeg(levels.numpy(), quality)])
    return loaded.view_as(levels).to(x.device).movedim(3, 1).div(x.new_tensor(255))


def _through_jpeg(images: NDArray[np.uint8], quality: int) -> list[NDArray[np.uint8]]:
    """Images (N, H, W, C) in eight bits, compressed and decompressed on as many threads as torch uses."""
    one = partial(_one_through_jpeg, quality=quality)
    threads = min(len(images), torch.get_num_threads())
    if threads <= 1:
        return [one(image) for image in images]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, images))


def _one_through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """One image (H, W, C) in eight bits, compressed and decompressed; a grey one comes back without C."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0]).save(file, "JPEG", quality=quality)
    with Image.open(file, formats=["JPEG"]) as loaded:
        return np.array(loaded)


KINDS = (
    Kind("contrast", "digital", contrast),
    Kind("pixelate", "digital", pixelate, smallest=smallest_side, eight_bits=True),
    Kind("jpeg_compression", "digital", jpeg_compression, eight_bits=True, portions=16),
)
