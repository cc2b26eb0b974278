"""Elastic deformation: an affine map by three moved points, then a smooth random field."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.core import Streams
from robustlab.corruptions.gaussian import gaussian
from robustlab.corruptions.kind import Draws, Kind, Shape
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.suite import register

_FINE = 32  # the warp of the source rounds positions to this part of a pixel
_FIXED = 1024  # and computes them from terms rounded to this part
_SHIFT = 5  # binary digits between the two
_OUTSIDE = 1 << 29


def draw_elastic(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Moves of the three points (N, 3, 2) and of the pixels (N, 2, H, W), uniform in [-1, 1); horizontal ones first."""
    del constants
    points = streams.uniform((3, 2), 0, dtype=torch.float64) * 2 - 1
    return points, streams.uniform((2, *shape[1:]), 1).mul_(2).sub_(1)


def elastic_transform(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Warps by an affine map, then by a field: out(p) = warped(p + alpha (G_sigma * noise)(p)).

    Args:
        x: images (N, C, H, W).
        draws: from ``draw_elastic``.
        constants: alpha, sigma and the largest move of the points as fractions of the shorter side.

    Source: the code of ImageNet-C. The points are the centre and two a third of the side from it; the image is
    mirrored at its edge, without the edge pixel for the affine map and with it for the field, whose Gaussian is cut off
    at three sigmas.
    """
    points, noise = draws
    side = min(x.shape[2:])
    alpha, sigma, largest = (fraction * side for fraction in constants)
    warped = _warped(x, points * largest)
    if alpha == 0:
        return warped
    field = gaussian(noise.to(x.dtype), sigma, truncate=3.0, border="reflect")
    grid = torch.empty(*field[:, 0].shape, 2, dtype=x.dtype, device=x.device)
    for axis, length in enumerate((x.shape[3], x.shape[2])):
        still = (2 * torch.arange(length, dtype=x.dtype, device=x.device) + 1) / length - 1
        torch.add(still if axis == 0 else still[:, None], field[:, axis], alpha=2 * alpha / length, out=grid[..., axis])
    return F.grid_sample(warped, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _warped(x: Tensor, moves: Tensor) -> Tensor:
    """Images after the affine map that moves three points by (N, 3, 2), (horizontal, vertical), in pixels."""
    height, width = x.shape[2:]
    back = _inverse(_affine(moves.to(torch.float64), height, width))
    columns, rows = (torch.arange(side, dtype=torch.float64, device=x.device) for side in (width, height))
    grid = x.new_empty(x.shape[0], height, width, 2)
    for axis, (row, length) in enumerate(zip(back.unbind(1), (width, height), strict=True)):
        across, down, shift = row[:, None].unbind(2)
        steps, start = _fixed(across * columns), _fixed(down * rows + shift) + _FIXED // _FINE // 2
        fine = (steps[:, None, :] + start[:, :, None]).bitwise_right_shift_(_SHIFT)
        torch.add(x.new_tensor(-1), fine, alpha=2 / (_FINE * (length - 1)), out=grid[..., axis])
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=True)


def _fixed(positions: Tensor) -> Tensor:
    """Positions in pixels as whole numbers in the units of the source, int32, clamped far outside."""
    return positions.mul(_FIXED).round_().clamp_(-_OUTSIDE, _OUTSIDE).to(torch.int32)


def _affine(moves: Tensor, height: int, width: int) -> Tensor:
    """The maps (N, 2, 3) on (x, y, 1) that move the three points."""
    centre = moves.new_tensor([width // 2, height // 2])
    away = min(height, width) // 3
    points = centre + moves.new_tensor([[away, away], [away, -away], [-away, -away]])
    known = torch.cat([points, torch.ones_like(points[:, :1])], dim=1)
    solved: Tensor = torch.linalg.solve(known, points + moves)
    return solved.mT


def _inverse(maps: Tensor) -> Tensor:
    """Inverses (N, 2, 3) of affine maps (N, 2, 3); a singular map gives the corner, as in the source."""
    (a, b, c), (d, e, f) = (row.unbind(1) for row in maps.unbind(1))
    size = a * e - b * d
    scale = torch.where(size != 0, 1 / size, 0)
    a, b, d, e = e * scale, -b * scale, -d * scale, a * scale
    return torch.stack([a, b, -a * c - b * f, d, e, -d * c - e * f], dim=1).view(-1, 2, 3)


def _three_apart(constants: Constants) -> int:
    """The smallest side at which the three points differ."""
    del constants
    return 3


_NOT_OFFERED = (("imagecorruptions", None),)  # there, no affine map comes before, and the field is another one
register(
    Kind(
        "elastic_transform",
        "digital",
        elastic_transform,
        draw_elastic,
        smallest=_three_apart,
        others=_NOT_OFFERED,
        portions=2,
    ),
)
