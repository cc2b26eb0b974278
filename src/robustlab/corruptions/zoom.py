"""Enlargement of the middle of an image, as of a camera that zooms in."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F


def enlarged(x: Tensor, factor: float, *, dark_edge: bool = True) -> Tensor:
    """The middle of images (N, C, H, W), enlarged: at least as large as before, corners on corners, bilinear.

    Args:
        x: images (N, C, H, W).
        factor: of the enlargement, at least 1.
        dark_edge: leaves the last row or column black at those sizes where SciPy's arithmetic, as in the source, takes
            it to be outside by a rounding error. No zoom of ImageNet-C does so at 224 x 224.

    Returns: images (N, C, H', W'), perhaps one or a few rows and columns larger than ``x``; or ``x`` itself.
    """
    sides = x.shape[-2:]
    parts = [math.ceil(side / factor) for side in sides]
    sizes = [round(part * factor) for part in parts]
    if parts == sizes == [*sides]:
        return x
    top, left = ((side - part) // 2 for side, part in zip(sides, parts, strict=True))
    middle = x[..., top : top + parts[0], left : left + parts[1]]
    large = F.interpolate(middle, size=sizes, mode="bilinear", align_corners=True)
    for dim, part, size in zip((2, 3), parts, sizes, strict=True):
        if dark_edge and size > 1 and (size - 1) * ((part - 1) / (size - 1)) > part - 1:
            large.select(dim, size - 1).zero_()
    return large
