"""Motion blur along a line that ends at the pixel, for cameras and falling flakes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def moved(x: Tensor, angles: Tensor, radius: float, sigma: float) -> Tensor:
    """Blurs each image along its own direction, with weights that decrease from the pixel on.

        out(p) = sum_i w_i x(p + ceil(i (sin a, cos a) - 1/2)),  w_i ~ exp(-i^2 / 2 sigma^2),  i = 0..2 radius

    The edge pixels continue outside the image.

    Args:
        x: images (N, C, H, W), float.
        angles: directions (N,) in degrees; 0 is along the rows, 90 down the columns.
        radius: half the number of pixels that are averaged.
        sigma: standard deviation in pixels.

    Source: MotionBlurImage of ImageMagick, which made ImageNet-C.
    """
    steps = torch.arange(2 * int(radius) + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (steps / sigma).square())
    normalised = (weights / weights.sum()).tolist()
    radians = angles.double().cpu()[:, None] * (math.pi / 180)
    down = torch.ceil(steps * radians.sin() - 0.5).long().tolist()
    right = torch.ceil(steps * radians.cos() - 0.5).long().tolist()
    reach, (height, width) = len(steps) - 1, x.shape[2:]
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    out = torch.zeros_like(x)
    for row, image in enumerate(padded):
        for weight, dy, dx in zip(normalised, down[row], right[row], strict=True):
            top, left = reach + dy, reach + dx
            out[row].add_(image[:, top : top + height, left : left + width], alpha=weight)
    return out
