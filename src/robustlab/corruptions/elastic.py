"""Elastic deformation: three points of the image are moved, then every pixel by a smooth random field."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.core import Streams
from robustlab.corruptions.gaussian import gaussian
from robustlab.corruptions.kind import Draws, Kind, Shape
from robustlab.corruptions.severity import Constants

_FINE = 32  # the warp of the source rounds positions to this part of a pixel
_FIXED = 1024  # and computes them from terms rounded to this part


def draw_elastic(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Moves of the three points (N, 3, 2) and of the pixels (N, 2, H, W), uniform in [-1, 1); first across."""
    del constants
    points = streams.uniform((3, 2), 0, dtype=torch.float64) * 2 - 1
    return points, streams.uniform((2, *shape[1:]), 1).mul_(2).sub_(1)


def elastic_transform(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Warps by an affine map, then by a field: out(p) = warped(p + alpha (G_sigma * noise)(p)).

    Args:
        x: images (N, C, H, W).
        draws: as ``draw_elastic`` makes them.
        constants: alpha, sigma and the largest move of the points as shares of the shorter side.

    Source: the code of ImageNet-C. The points are the centre and what lies a third of the side from it; outside of
    the image lies its mirror image, without the pixel at the edge for the affine map and with it for the field, whose
    Gaussian is cut off at three sigmas.
    """
    points, noise = draws
    side = min(x.shape[2:])
    alpha, sigma, largest = (share * side for share in constants)
    warped = _warped(x, points * largest)
    if alpha == 0:
        return warped
    field = gaussian(noise.to(x.dtype), sigma, truncate=3.0, border="reflect") * alpha
    return _sampled(warped, field[:, 0] + _columns(x), field[:, 1] + _rows(x), edge_twice=True)


def _warped(x: Tensor, moves: Tensor) -> Tensor:
    """Images after the affine map that moves three points by (N, 3, 2), (across, down), in pixels."""
    height, width = x.shape[2:]
    back = _inverse(_affine(moves.to(torch.float64), height, width))
    columns, rows = (torch.arange(side, dtype=torch.float64, device=x.device) for side in (width, height))
    at = []
    for across, down, shift in (row.unbind(1) for row in back.unbind(1)):
        steps = torch.round(across[:, None] * columns * _FIXED)
        start = torch.round((down[:, None] * rows + shift[:, None]) * _FIXED) + _FIXED // _FINE // 2
        at.append((steps[:, None, :] + start[:, :, None]).mul_(_FINE / _FIXED).floor_().div_(_FINE))
    return _sampled(x, at[0], at[1], edge_twice=False)


def _affine(moves: Tensor, height: int, width: int) -> Tensor:
    """The maps (N, 2, 3) on (across, down, 1) that move the three points."""
    centre = moves.new_tensor([width // 2, height // 2])
    away = min(height, width) // 3
    points = centre + moves.new_tensor([[away, away], [away, -away], [-away, -away]])
    known = torch.cat([points, torch.ones_like(points[:, :1])], dim=1)
    solved: Tensor = torch.linalg.solve(known, points + moves)
    return solved.mT


def _inverse(maps: Tensor) -> Tensor:
    """The way back (N, 2, 3) of affine maps (N, 2, 3); a map without one leads to the corner, as in the source."""
    (a, b, c), (d, e, f) = (row.unbind(1) for row in maps.unbind(1))
    size = a * e - b * d
    scale = torch.where(size != 0, 1 / size, 0)
    a, b, d, e = e * scale, -b * scale, -d * scale, a * scale
    return torch.stack([a, b, -a * c - b * f, d, e, -d * c - e * f], dim=1).view(-1, 2, 3)


def _columns(x: Tensor) -> Tensor:
    return torch.arange(x.shape[3], dtype=x.dtype, device=x.device)


def _rows(x: Tensor) -> Tensor:
    return torch.arange(x.shape[2], dtype=x.dtype, device=x.device)[:, None]


def _sampled(x: Tensor, across: Tensor, down: Tensor, *, edge_twice: bool) -> Tensor:
    """Images (N, C, H, W) at positions (N, H, W) in pixels, bilinear, mirrored outside."""
    height, width = x.shape[2:]
    if edge_twice:
        grid = [(2 * across + 1) / width - 1, (2 * down + 1) / height - 1]
    else:
        grid = [2 * across / (width - 1) - 1, 2 * down / (height - 1) - 1]
    places = torch.stack(grid, dim=-1).to(x.dtype)
    return F.grid_sample(x, places, mode="bilinear", padding_mode="reflection", align_corners=not edge_twice)


def _three_apart(constants: Constants) -> int:
    """From what side on the three points differ."""
    del constants
    return 3


KINDS = (Kind("elastic_transform", "digital", elastic_transform, draw_elastic, smallest=_three_apart),)
