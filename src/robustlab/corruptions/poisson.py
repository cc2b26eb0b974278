"""Poisson numbers from uniform ones, by inversion of the distribution function.

Images usually have 256 levels, so the distribution functions are tabulated per level. The remainder of a value beyond
its level gives a second, small Poisson number, as a sum of Poisson numbers is one.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

_BUCKETS = 1024
_EXACT = 1e-3
"""Tolerance in levels: a value this close to a level counts as the level, as float32 rounds multiples of 1/255."""


class _Table(NamedTuple):
    """The Poisson distributions of all levels."""

    cdf: Tensor
    """Chance of at most k (256, K), float64."""
    first: Tensor
    """The quantile at the beginning of each bucket of [0, 1), level by level (256 * _BUCKETS,), int16; less than 0, as
    -1 - quantile, where it is another one at the end."""


def poisson_counts(x: Tensor, u: Tensor, photons: float) -> Tensor:
    """The u-quantiles of Poisson distributions of mean ``photons * x``.

    Args:
        x: values in [0, 1], float32 or float64.
        u: uniform numbers in [0, 1), like ``x``.
        photons: mean at x = 1, > 0 and at most 10,000.

    Returns: counts like ``x``, int16: the smallest k with u < P(count <= k), if x is a multiple of 1/255.
    """
    table = _Table(*(part.to(x.device) for part in _tabulated(photons)))
    scaled = x * 255
    level = (scaled + _EXACT).floor_()
    counts = _quantiles(level.flatten(), u.flatten(), table).view_as(x)
    rest = scaled.sub_(level)
    if x.numel() and float(rest.amax()) > _EXACT:
        again = _recycled(level.long(), u, counts.long(), table)
        counts += _small_counts(rest.clamp(min=0) * (photons / 255), again)
    return counts


def _quantiles(level: Tensor, u: Tensor, table: _Table) -> Tensor:
    """Quantiles (M,) of the distributions at whole levels (M,)."""
    bucket = (u * _BUCKETS).floor_().add_(level, alpha=_BUCKETS).long()
    counts = table.first.index_select(0, bucket)
    unsure = (counts < 0).nonzero()[:, 0]
    k, levels, u = -1 - counts[unsure].long(), level[unsure].long(), u[unsure]
    while bool((above := u >= table.cdf[levels, k]).any()):
        k += above
    counts[unsure] = k.to(counts.dtype)
    return counts


def _recycled(level: Tensor, u: Tensor, counts: Tensor, table: _Table) -> Tensor:
    """Remainder of u within its quantile: uniform numbers independent of the counts."""
    above = table.cdf[level, counts]
    below = torch.where(counts > 0, table.cdf[level, (counts - 1).clamp(min=0)], 0)
    return ((u - below) / (above - below)).clamp(0, 1 - 2**-24)


def _small_counts(mean: Tensor, u: Tensor) -> Tensor:
    """Quantiles of Poisson distributions of small means, term by term."""
    term = torch.exp(-mean)
    total, counts, k = term.clone(), torch.zeros_like(u, dtype=torch.int16), 0
    while bool((beyond := (u >= total) & (term > 0)).any()):
        counts += beyond
        k += 1
        term = term * mean / k
        total += term
    return counts


@lru_cache(maxsize=16)
def _tabulated(photons: float) -> _Table:
    means = torch.arange(256, dtype=torch.float64)[:, None] * (photons / 255)
    most = math.ceil(photons + 12 * math.sqrt(photons) + 30)
    k = torch.arange(most + 1, dtype=torch.float64)
    cdf = torch.exp(torch.xlogy(k, means) - means - torch.lgamma(k + 1)).cumsum(1)
    cdf[:, -1] = 1  # no number below one is beyond the table
    ends = torch.arange(_BUCKETS + 1, dtype=torch.float64) / _BUCKETS
    quantile = torch.searchsorted(cdf, ends.expand(256, -1).contiguous(), right=True).clamp_(max=most)
    last = torch.searchsorted(cdf, ends[1:].expand(256, -1).contiguous())
    first = quantile[:, :-1]
    return _Table(cdf, torch.where(first == last, first, -1 - first).flatten().to(torch.int16))
