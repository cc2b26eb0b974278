"""Likeness of two sets of maps as the checks measure it: rank correlations of a sample of the pixels, and SSIM."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustlab.core.random import subset
from robustlab.explain.map_distances import cosine, rank_correlation, ssim
from robustlab.explain.maps import Maps

_PIXELS = 4096
"""Pixels whose ranks are compared: the correlation of an example is off by about 1/64 at most, at a tenth of the time
for images of 224 x 224."""
_IMAGES, _SSIM_PIXELS = 16, 1 << 18
"""Most examples of which SSIM is computed, and their pixels: it takes ten times as long as the ranks."""
_SAME, _ALL, _FEWEST = 0.999, 0.9, 3
"""Cosine from which maps are the same, for such a share of the examples; maps of fewer values are so by chance."""


def signed(one: Maps, other: Maps) -> Tensor:
    """Rank correlation of the values per pixel, with their signs (N,)."""
    return _ranked(one.per_pixel, other.per_pixel)


def absolute(one: Maps, other: Maps) -> Tensor:
    """Rank correlation of the strengths per pixel (N,)."""
    return _ranked(one.strength, other.strength)


def similar(one: Maps, other: Maps) -> float:
    """Mean SSIM of the values per pixel of the first images, 16 at most; NaN for other inputs than images."""
    if one.values.ndim != 4:
        return math.nan
    few = max(1, min(_IMAGES, _SSIM_PIXELS // one.values[0, 0].numel()))
    return float(ssim(one[:few].per_pixel, other[:few].per_pixel).mean())


def same(one: Maps, other: Maps) -> float:
    """Share of the first 16 examples whose maps are the same up to a factor; maps of zeros do not count."""
    one, other = one[:_IMAGES], other[:_IMAGES]
    if one.values[0].numel() < _FEWEST:
        return 0.0
    there = ~(lost(one.values) | lost(other.values))
    cosines = cosine(one.values[there], other.values[there]).abs() if bool(there.any()) else torch.zeros(1)
    return float((cosines > _SAME).double().mean())


def hardly_changed(one: Maps, other: Maps, *limits: float) -> tuple[bool, ...]:
    """True for maps that are the same up to a factor, or whose ranks, with signs, are alike beyond a limit and chance.

    Args:
        one: maps.
        other: of the same inputs by another network.
        limits: mean rank correlations up to which they differ.

    Returns: an answer for each limit.
    """
    equal, signs, chance = same(one, other) > _ALL, float(signed(one, other).mean()), by_chance(one)
    return tuple(equal or signs > max(limit, chance) for limit in limits)


def by_chance(maps: Maps, deviations: float = 3.0) -> float:
    """Largest rank correlation that unrelated maps with so few different values have by chance; at least 0.

    Args:
        maps: of which a large window or a coarse grid may leave a few values only.
        deviations: standard deviations of the correlation of unrelated values.
    """
    few = maps.per_pixel.flatten(1)[:_IMAGES]
    different = min(_PIXELS, max(len(one.unique()) for one in few))
    return deviations / math.sqrt(max(1, different - 1))


def _ranked(one: Tensor, other: Tensor) -> Tensor:
    one, other = one.flatten(1), other.flatten(1)
    if one.shape[1] > _PIXELS:
        pixels = subset(one.shape[1], _PIXELS).to(one.device)
        one, other = one[:, pixels], other[:, pixels]
    return rank_correlation(one, other)


def lost(values: Tensor) -> Tensor:
    """True for maps or gradients (N, ...) that are zero, or too small to be normal numbers of their type (N,)."""
    kind = torch.finfo(values.dtype)
    least = kind.smallest_normal if kind.bits >= 32 else 0.0
    size = values.flatten(1).abs().amax(dim=1)
    return (size < least) | (size == 0)
