"""Spatter: drops of water or mud on the lens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.core import Streams
from robustlab.corruptions.edges import UNIT, canny, distance
from robustlab.corruptions.gaussian import gaussian
from robustlab.corruptions.kind import Draws, Kind, Shape
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.suite import register

_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)
_FAR = 20
_SURE = 0.8


def draw_spatter(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Standard normal numbers (N, H, W)."""
    del constants
    return (streams.normal(shape[1:]),)


def spatter(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Drops where smoothed noise is above a threshold: x + m water, or (1 - m) x + m mud.

    Args:
        x: images (N, 3, H, W).
        draws: from ``draw_spatter``.
        constants: mean and standard deviation of the noise, sigma of its smoothing, threshold, intensity of water or
            sigma of the rim of mud, and 1 for mud.

    Source: the code of ImageNet-C.
    """
    (noise,) = draws
    mean, deviation, sigma, threshold, how, mud = constants
    liquid = gaussian(noise.to(x.dtype) * deviation + mean, sigma)
    if mud:
        mask = gaussian((liquid > threshold).to(x.dtype), how)
        mask = torch.where(mask < _SURE, 0, mask)[:, None]
        return x * (1 - mask) + _coloured(mask, _MUD)
    return x + _coloured(_water(torch.where(liquid < threshold, 0, liquid)) * how, _WATER)


def _coloured(mask: Tensor, colour: tuple[float, float, float]) -> Tensor:
    return mask * mask.new_tensor(colour)[:, None, None]


def _water(liquid: Tensor) -> Tensor:
    """Masks (N, 1, H, W) from 0 to 1 of drops (N, H, W) that shine at their rims; 0 without drops.

    The distance to the edges of the drops is smoothed, equalised, embossed and smoothed again, as 8 bits each time.
    """
    levels = liquid.mul(255).floor_().clamp_(0, 255)
    away = distance(canny(levels, low=50, high=150), far=_FAR).to(levels)[:, None]
    away = _equalised(_mean_of_nine(away).div_(UNIT).floor_())
    shine = _embossed(away).clamp_(0, 255)
    mask = levels[:, None] * _mean_of_nine(shine).round_()
    brightest = mask.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(brightest > 0, mask / brightest, 0)


def _mean_of_nine(x: Tensor) -> Tensor:
    padded = _mirrored(x)
    rows = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).div_(9)


def _embossed(x: Tensor) -> Tensor:
    """Correlation with -2 -1 0, -1 1 1, 0 1 2."""
    padded, (height, width) = _mirrored(x), x.shape[2:]

    def neighbour(down: int, right: int) -> Tensor:
        return padded[:, :, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    falling = (neighbour(1, 1) - neighbour(-1, -1)).mul_(2)
    return falling.add_(x).add_(neighbour(0, 1)).sub_(neighbour(0, -1)).add_(neighbour(1, 0)).sub_(neighbour(-1, 0))


def _mirrored(x: Tensor) -> Tensor:
    """Images (N, 1, H, W) with one more pixel on each side, mirrored at the pixel on the edge."""
    return F.pad(x, (1, 1, 1, 1), mode="reflect")


def _equalised(x: Tensor) -> Tensor:
    """Histogram equalisation of whole numbers 0..``_FAR`` (N, 1, H, W) to 0..255; a single level stays.

    As in OpenCV, the pixels of the lowest level do not count.
    """
    levels, rows = x.flatten(1).long(), torch.arange(x.shape[0], device=x.device)[:, None]
    bins = _FAR + 1
    counts = torch.bincount((levels + rows * bins).flatten(), minlength=rows.numel() * bins).view(-1, bins)
    lowest = counts.gather(1, (counts > 0).int().argmax(dim=1, keepdim=True))
    others = levels.shape[1] - lowest
    scale = 255 / others.to(torch.float32)
    table = ((counts.cumsum(1) - lowest) * scale).round_().to(x.dtype)
    table = torch.where(others > 0, table, torch.arange(bins, dtype=x.dtype, device=x.device))
    return table.gather(1, levels).view_as(x)


def _two_pixels(constants: Constants) -> int:
    """The smallest side that can be mirrored without the edge pixel."""
    del constants
    return 2


register(
    Kind("spatter", "extra", spatter, draw_spatter, colour=True, smallest=_two_pixels, portions=4),
)
