"""Likeness and distance of attribution maps, one number per example, computed in float64.

Maps (N, ...) are compared as they are given. Where the shape of a map counts and its scale does not, both are scaled
first, as each function says. A map of zeros is like another map of zeros, and unlike every other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.core.rows import row_chunks

_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03


@typed
def cosine(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of the angle between two maps (N,), in [-1, 1]; differentiable.

    0 if one of the maps is zero, and 1 if both are.

    Args:
        one: maps (N, ...).
        other: maps in the same shape.

    Raises: ValueError for maps of different shapes, NaN or infinite values; so do all functions of this file.
    """
    a, b = (_divided(part, _length(part, 2)) for part in _pair(one, other))
    return torch.where(_both_zero(a, b), 1, (a * b).sum(1))


@typed
def l2(one: Tensor, other: Tensor) -> Tensor:
    """Euclidean distance of two maps (N,), each divided by the sum of its absolute values; differentiable.

    In [0, 2]. A map of zeros stays one.
    """
    a, b = (_divided(part, _length(part, 1)) for part in _pair(one, other))
    return _length(a - b, 2)


@typed
def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's correlation of the values of two maps (N,), in [-1, 1]; equal values have the mean of their ranks.

    A constant map has no order: 0 if one of the maps is constant, and 1 if both are. For an order by size without
    sign, give absolute values.
    """
    return _by_rows(_rank_correlation, *_pair(one, other))


@typed
def top_k_overlap(one: Tensor, other: Tensor, k: int = 100) -> Tensor:
    """Part of the k pixels of largest absolute value that two maps have in common (N,), in [0, 1].

    The value of a pixel is the sum of the absolute values over the channels, which are axis 1. Among equal values the
    first come first. Pixels of value 0 are never among the largest: where both maps have fewer than k others, the part
    is that of the longer list, and 1 if both maps are zero.

    Args:
        one: maps (N, ...).
        other: maps in the same shape.
        k: number of pixels, >= 1; all of them if there are fewer.

    Source: Ghorbani, Abid, Zou, Interpretation of Neural Networks is Fragile, AAAI 2019, section 2.
    """
    a, b = (_pixels(part.reshape(one.shape)) for part in _pair(one, other))
    most = min(_checked_k(k), a.shape[1])
    return _by_rows(lambda x, y: _overlap(x, y, most), a, b)


@typed
def ssim(one: Tensor, other: Tensor, *, data_range: float | None = None) -> Tensor:
    """Structural similarity of two maps (N,), at most 1; differentiable.

    Mean over the places of a Gaussian window of 11 x 11 pixels with deviation 1.5 that lies inside the image, and over
    the channels; K1 = 0.01, K2 = 0.03. In an image smaller than that the window has its largest odd size; for one of a
    single pixel only the values count.

    Args:
        one: maps of images (N, H, W) or (N, C, H, W).
        other: maps in the same shape.
        data_range: largest less smallest possible value, of maps as given; None: each map is divided by its largest
            absolute value, and the range is 2, from -1 to 1.

    Source: Wang, Bovik, Sheikh, Simoncelli, Image Quality Assessment, IEEE TIP 2004, equation 13.
    """
    if one.ndim not in (3, 4):
        raise ValueError(f"SSIM compares maps of images, (N, H, W) or (N, C, H, W), got {tuple(one.shape)}")
    if data_range is not None and not 0 < data_range < math.inf:
        raise ValueError(f"data_range must be a finite number > 0, got {data_range}")
    a, b = _pair(one, other)
    if data_range is None:
        a, b = (_divided(part, part.abs().amax(1)) for part in (a, b))
    a, b = (part.reshape(-1, 1, *one.shape[-2:]) for part in (a, b))
    return _ssim(a, b, 2.0 if data_range is None else data_range).reshape(len(one), -1).mean(1)


@typed
def pull(one: Tensor, other: Tensor) -> Tensor:
    """Correlation of the values of a map with the ranks of another (N,), in [-1, 1]; differentiable by the first.

    It stands in for ``rank_correlation``, which has no derivative.
    """
    a, b = _pair(one, other)
    return _correlation(a, _ranks(b.detach()))


@typed
def top_k_mass(one: Tensor, other: Tensor, k: int = 100) -> Tensor:
    """Part of the absolute values of a map at the k largest pixels of another (N,), in [0, 1]; differentiable.

    It stands in for ``top_k_overlap``, which has no derivative. Source: Ghorbani, Abid, Zou, 2019, section 2.
    """
    a, b = (_pixels(part.reshape(one.shape)) for part in _pair(one, other))
    largest = _largest(b.detach(), min(_checked_k(k), b.shape[1]))
    return (_divided(a, _length(a, 1)) * largest).sum(1)


def _scaled_l2(one: Tensor, other: Tensor) -> Tensor:
    """``l2`` times the root of the number of values: about 1 for unlike maps of any size."""
    return l2(one, other) * math.sqrt(one[0].numel())


@typed
@dataclass(frozen=True)
class MapDistance:
    """A distance of two maps, 0 for like ones.

    Args:
        measure: from two maps (N, ...) to distances (N,).
        climbed: differentiable by the first map, grows with the measure, about 1 for unlike maps: what a search climbs.
        help: description in a few words.
    """

    measure: Callable[[Tensor, Tensor], Tensor]
    climbed: Callable[[Tensor, Tensor], Tensor]
    help: str = ""

    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        """Distances of maps (N, ...), (N,) float64."""
        return self.measure(one, other)


DISTANCES: Registry[MapDistance] = Registry("distance of maps")
"""Distances of maps by name."""


@typed
def top_k_distance(k: int) -> MapDistance:
    """1 - ``top_k_overlap`` with a given k."""
    _checked_k(k)
    return MapDistance(
        lambda one, other: 1 - top_k_overlap(one, other, k),
        lambda one, other: 1 - top_k_mass(one, other, k),
        f"1 - part of the {k} largest pixels in common",
    )


def _less(likeness: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda one, other: 1 - likeness(one, other)


def _pair(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps as (N, D) in float64."""
    if one.shape != other.shape or one.ndim < 2 or not one.numel():
        raise ValueError(
            f"two maps of one shape (N, ...) can be compared, got {tuple(one.shape)} and {tuple(other.shape)}"
        )
    a, b = (part.double().flatten(1) for part in (one, other))
    undefined = int((~(a.detach().isfinite() & b.detach().isfinite())).any(1).sum())
    if undefined:
        raise ValueError(f"maps of {undefined} of {len(a)} examples contain NaN or infinite values")
    return a, b


def _checked_k(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be a number of pixels >= 1, got {k}")
    return k


def _length(x: Tensor, order: float) -> Tensor:
    """Norm of each row (N,), with gradient 0 at 0."""
    length: Tensor = torch.linalg.vector_norm(x, order, dim=1)
    return length


def _divided(x: Tensor, size: Tensor) -> Tensor:
    """Rows divided by their sizes (N,); rows of size 0 stay."""
    size = size[:, None]
    return x / torch.where(size > 0, size, 1)


def _both_zero(a: Tensor, b: Tensor) -> Tensor:
    return ~((a != 0).any(1) | (b != 0).any(1))


def _by_rows(function: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    return torch.cat([function(a[rows], b[rows]) for rows in row_chunks(a)])


def _ranks(x: Tensor) -> Tensor:
    """Ranks in each row (N, D) from 1, the mean of them for equal values."""
    ordered, x = x.sort(1).values, x.contiguous()
    return (torch.searchsorted(ordered, x) + torch.searchsorted(ordered, x, right=True) + 1).double() / 2


def _rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    return _correlation(_ranks(a), _ranks(b))


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of rows; 0 if one is constant, 1 if both are."""
    a, b = (part - part.mean(1, keepdim=True) for part in (a, b))
    flat = [(part.amax(1) <= part.amin(1)).detach() for part in (a, b)]
    a, b = (_divided(part, _length(part, 2)) for part in (a, b))
    return torch.where(flat[0] | flat[1], (flat[0] & flat[1]).double(), (a * b).sum(1))


def _pixels(maps: Tensor) -> Tensor:
    """Sums of absolute values over the channels (N, P)."""
    return (maps.abs().sum(1) if maps.ndim > 2 else maps.abs()).flatten(1)


def _largest(pixels: Tensor, k: int) -> Tensor:
    """Mask of the k largest values of each row, the first of equal ones, that are not 0."""
    order = pixels.sort(dim=1, descending=True, stable=True).indices[:, :k]
    return torch.zeros_like(pixels, dtype=torch.bool).scatter(1, order, value=True) & (pixels > 0)


def _overlap(a: Tensor, b: Tensor, k: int) -> Tensor:
    here, there = _largest(a, k), _largest(b, k)
    longer = torch.maximum(here.sum(1), there.sum(1))
    return torch.where(longer > 0, (here & there).sum(1) / longer.clamp_min(1).double(), 1)


def _ssim(a: Tensor, b: Tensor, data_range: float) -> Tensor:
    """Mean SSIM of images (M, 1, H, W), (M,)."""
    window = _window(min(a.shape[-2:]), a)
    mean_a, mean_b, aa, bb, ab = (F.conv2d(part, window) for part in (a, b, a * a, b * b, a * b))
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    both = mean_a * mean_b
    squares = mean_a.square() + mean_b.square()
    value = (2 * both + c1) * (2 * (ab - both) + c2) / ((squares + c1) * (aa + bb - squares + c2))
    return value.flatten(1).mean(1)


def _window(shortest: int, like: Tensor) -> Tensor:
    size = min(_WINDOW, shortest - 1 + shortest % 2)
    places = torch.arange(size, dtype=like.dtype, device=like.device) - size // 2
    weights = (-places.square() / (2 * _SIGMA**2)).exp()
    weights = weights / weights.sum()
    return (weights[:, None] * weights)[None, None]


DISTANCES.register("l2", MapDistance(l2, _scaled_l2, "Euclidean distance at unit sums of absolute values"))
DISTANCES.register("cosine", MapDistance(_less(cosine), _less(cosine), "1 - cosine of the angle"))
DISTANCES.register("ssim", MapDistance(_less(ssim), _less(ssim), "1 - structural similarity"))
DISTANCES.register("rank", MapDistance(_less(rank_correlation), _less(pull), "1 - Spearman's correlation"))
DISTANCES.register("top-k", top_k_distance(100))
