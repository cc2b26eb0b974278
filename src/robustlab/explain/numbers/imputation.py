"""Noisy linear imputation: removed pixels become weighted means of their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

_WEIGHTS = tuple((i, j, 1 / 6 if i * j == 0 else 1 / 12) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)
_PRECISE = 1e-10


def imputed(x: Tensor, missing: Tensor) -> Tensor:
    """Images whose missing pixels are weighted means of their eight neighbours, missing ones among them.

        x_p = sum_q w_pq x_q / sum_q w_pq,   w = 1/6 next to p along an axis, 1/12 diagonally, q inside the image

    The linear equations are solved by conjugate gradients in float64, to a relative residual of 1e-10; each image on
    its own.

    Args:
        x: images (N, C, H, W); the values of missing pixels do not matter.
        missing: mask (N, H, W); in each image one pixel at least is left.

    Returns: (N, C, H, W), in the dtype of ``x``.
    Source: Rong, Leemann, Borisov, Kasneci, Kasneci, A Consistent and Efficient Evaluation Strategy for Attribution
    Methods, ICML 2022, section 4.2, without the noise.
    """
    gone = missing[:, None].double()
    known = torch.where(missing[:, None], 0, x.double())
    total = _neighbours(torch.ones_like(gone))
    filled = known + _solved(gone, total, gone * _neighbours(known))
    return torch.where(missing[:, None], filled.to(x.dtype), x)


def _neighbours(x: Tensor) -> Tensor:
    """Weighted sums of the eight neighbours of each pixel (N, C, H, W), 0 outside."""
    total, (height, width) = torch.zeros_like(x), x.shape[2:]
    for i, j, weight in _WEIGHTS:
        if abs(i) < height and abs(j) < width:
            to = total[:, :, max(0, -i) : height - max(0, i), max(0, -j) : width - max(0, j)]
            to.add_(x[:, :, max(0, i) : height + min(0, i), max(0, j) : width + min(0, j)], alpha=weight)
    return total


def _solved(gone: Tensor, total: Tensor, right: Tensor) -> Tensor:
    """Solution of ``total * v - neighbours(v) = right`` on the missing pixels, 0 elsewhere, by conjugate gradients."""
    found, residual = torch.zeros_like(right), right.clone()
    direction, size = residual.clone(), _squares(residual)
    enough = size * _PRECISE**2
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
