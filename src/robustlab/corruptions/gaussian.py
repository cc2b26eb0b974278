"""Gaussian smoothing as two matrix products, one per axis, with the border in the matrices."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Border: TypeAlias = Literal["nearest", "reflect"]
"""Continuation outside the image: the edge pixel; or the mirrored image, with the edge pixel twice."""


def gaussian(x: Tensor, sigma: float, *, truncate: float = 4.0, border: Border = "nearest") -> Tensor:
    """Smooths images (..., H, W) by a Gaussian cut off at ``truncate`` sigmas, with sum 1.

        out = A_H x A_W^T

    A product with a small matrix is as fast as a sum over the taps, and its time does not depend on sigma.

    Args:
        x: images, float.
        sigma: standard deviation in pixels, >= 0; 0 changes nothing.
        truncate: radius of the kernel, in sigmas.
        border: continuation of the image outside.
    """
    if sigma == 0:
        return x
    height, width = x.shape[-2:]
    down = smoothing_matrix(height, sigma, truncate, border).to(x)
    across = smoothing_matrix(width, sigma, truncate, border).to(x)
    return down @ x @ across.T


@lru_cache(maxsize=64)
def smoothing_matrix(side: int, sigma: float, truncate: float, border: Border) -> Tensor:
    """The matrix (side, side), float64, that smooths a column of pixels; its rows sum to 1."""
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma).square())
    weights /= weights.sum()
    pixels = torch.arange(side)[:, None] + offsets
    if border == "nearest":
        pixels = pixels.clamp(0, side - 1)
    else:
        pixels = pixels.remainder(2 * side)
        pixels = torch.minimum(pixels, 2 * side - 1 - pixels)
    return torch.zeros(side, side, dtype=torch.float64).scatter_add_(1, pixels, weights.expand(side, -1))
