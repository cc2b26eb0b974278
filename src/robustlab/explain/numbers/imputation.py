"""Noisy linear imputation: removed pixels become weighted means of their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

_PRECISE = {torch.float64: 1e-10}
"""Relative residual of the solution; 1e-6 in float32."""


def imputed(x: Tensor, missing: Tensor) -> Tensor:
    """Images whose missing pixels are weighted means of their eight neighbours, missing ones among them.

        x_p = sum_q w_pq x_q / sum_q w_pq,   w = 1/6 next to p along an axis, 1/12 diagonally, q inside the image

    The linear equations are solved by conjugate gradients, each image on its own: in float64 to a relative residual of
    1e-10, else in float32 to 1e-6.

    Args:
        x: images (N, C, H, W); the values of missing pixels do not matter.
        missing: mask (N, H, W); in each image one pixel at least is left.

    Returns: (N, C, H, W), in the dtype of ``x``.
    Source: Rong, Leemann, Borisov, Kasneci, Kasneci, A Consistent and Efficient Evaluation Strategy for Attribution
    Methods, ICML 2022, section 4.2, without the noise.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    gone = missing[:, None].to(dtype)
    known = torch.where(missing[:, None], 0, x.to(dtype))
    total = _neighbours(torch.ones_like(gone))
    filled = known + _solved(gone, total, gone * _neighbours(known))
    return torch.where(missing[:, None], filled.to(x.dtype), x)


def _neighbours(x: Tensor) -> Tensor:
    """Weighted sums of the eight neighbours of each pixel (N, C, H, W), 0 outside."""
    total = x
    for axis in (2, 3):  # 1 2 1 along both axes, over 12, less its middle
        size = x.shape[axis] - 1
        both = 2 * total
        both.narrow(axis, 1, size).add_(total.narrow(axis, 0, size))
        both.narrow(axis, 0, size).add_(total.narrow(axis, 1, size))
        total = both
    return total.sub_(x, alpha=4).div_(12)


def _solved(gone: Tensor, total: Tensor, right: Tensor) -> Tensor:
    """Solution of ``total * v - neighbours(v) = right`` on the missing pixels, 0 elsewhere, by conjugate gradients."""
    found, residual = torch.zeros_like(right), right.clone()
    direction, size = residual.clone(), _squares(residual)
    enough = size * _PRECISE.get(right.dtype, 1e-6) ** 2
    for _ in range(right[0, 0].numel() + 10):
        going = size > enough
        if not bool(going.any()):
            break
        product = gone * (total * direction - _neighbours(direction))
        step = _ratio(size, (direction * product).flatten(2).sum(2), going)
        found += step * direction
        residual -= step * product
        before, size = size, torch.where(going, _squares(residual), size)
        direction = residual + _ratio(size, before, going) * direction
    return found


def _squares(x: Tensor) -> Tensor:
    """Sum of squares of each channel of each image (N, C)."""
    return x.square().flatten(2).sum(2)


def _ratio(one: Tensor, other: Tensor, going: Tensor) -> Tensor:
    """Quotients (N, C, 1, 1), 0 for what is solved already."""
    return torch.where(going, one / other, 0)[:, :, None, None]
