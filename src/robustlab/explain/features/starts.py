"""Images to start from: noise, and draws from a normal distribution fitted to the images of a class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robustlab.core import Streams
from robustlab.core.kinds import typed
from robustlab.core.names import class_numbers

_NOISE, _SEEDS = 0x4015E, 0x5EED5


@typed
def noise_images(
    count: int, shape: Sequence[int], *, bounds: tuple[float, float] = (0.0, 1.0), seed: int = 0
) -> Tensor:
    """Images whose values are uniform within bounds, (N, ...), float32; image i depends on the seed and i alone.

    Args:
        count: their number N, >= 1.
        shape: of one image.
        bounds: smallest and largest value, both finite.
        seed: of the draws.

    Raises: ValueError for no images, an empty shape or infinite bounds.
    """
    low, high = bounds
    if count < 1 or not shape or min(shape) < 1:
        raise ValueError(f"noise needs one image or more of a shape without 0, got {count} of {tuple(shape)}")
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"noise is uniform within bounds, which must be two finite numbers (low, high), got {bounds}")
    draws = Streams(seed, torch.arange(count)).fork(_NOISE).uniform(tuple(shape))
    return draws.mul_(high - low).add_(low).clamp_(low, high)


@typed
def class_seeds(
    x: Tensor, y: Tensor, target: Tensor, *, bounds: tuple[float, float] = (0.0, 1.0), seed: int = 0
) -> Tensor:
    """Draws from the normal distribution with the mean and covariance of the images of a class, cut to the bounds.

        x_c + (n - 1)**-1/2 sum_i z_i (x_i - x_c),   z ~ N(0, I_n)

    That has the covariance of the n images, which is never stored. Row j depends on the seed, j and its class alone.

    Args:
        x: images (n, ...), floating point.
        y: their classes (n,).
        target: classes to draw for (N,).
        bounds: smallest and largest value of an image.
        seed: of the draws.

    Returns: (N, ...), in the dtype of ``x``.
    Raises: ValueError for a class with fewer than two images.

    Source: Santurkar, Tsipras, Tran, Ilyas, Engstrom, Madry, Image Synthesis with a Single (Robust) Classifier,
    NeurIPS 2019, section 3.1.
    """
    if x.ndim < 2 or not x.is_floating_point():
        raise ValueError(f"images must be a floating-point batch (n, ...), got {tuple(x.shape)} {x.dtype}")
    labels, classes = class_numbers(y, len(x)), class_numbers(target, len(target), "targets")
    streams = Streams(seed, torch.arange(len(classes), device=x.device)).fork(_SEEDS)
    out = x.new_empty(len(classes), *x.shape[1:])
    for k in classes.unique().tolist():
        out[classes == k] = _drawn(x.detach()[labels == k], int(k), streams.take(classes == k))
    return out.clamp_(*bounds)


def _drawn(images: Tensor, k: int, streams: Streams) -> Tensor:
    """A draw for each stream from the normal distribution of some images."""
    if len(images) < 2:
        raise ValueError(f"class {k} has {len(images)} images: a spread needs two or more")
    wide = images.flatten(1).to(torch.promote_types(images.dtype, torch.float32))
    mean = wide.mean(0)
    spread = (wide - mean).div_(math.sqrt(len(wide) - 1))
    weights = streams.normal((len(wide),), dtype=wide.dtype)
    return torch.stack([mean + row @ spread for row in weights]).to(images.dtype).reshape(-1, *images.shape[1:])
