"""The nearest point of a hyperplane that is within bounds, in each norm."""

from __future__ import annotations

import torch
from torch import Tensor

from robustlab.core import L1, L2, Linf, Norm
from robustlab.core.rows import row_chunks

_ROUNDS = 100  # Newton's method ends after a handful, at the latest after one per value
_PRECISION = 1e-6


def dual(norm: Norm) -> Norm:
    """The dual norm, which gives the change of a linear function per unit of this norm.

    Raises: ValueError for a user-defined norm, whose dual is not known.
    """
    for one, other in ((Linf(), L1()), (L2(), L2()), (L1(), Linf())):
        if norm == one:
            return other
    raise ValueError(f"the dual of {norm} is not known: use Linf, L2 or L1")


def to_hyperplane(x: Tensor, slope: Tensor, rise: Tensor, norm: Norm, bounds: tuple[float, float]) -> Tensor:
    """The smallest change, in a norm, by which a linear function rises by a given amount.

        argmin_z ||z||  subject to  <slope, z> = rise,   low <= x + z <= high

    If no change within bounds is enough, the one that comes nearest.

    Args:
        x: points (N, ...) within bounds, at least float32.
        slope: of the function at each point, like ``x``.
        rise: wanted rise (N,); may be negative.
        norm: Linf, L2 or L1.
        bounds: smallest and largest valid value.

    Returns: z (N, ...).
    Source: Croce, Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack, ICML 2020,
    section 3 and appendix A; solved by Newton's method instead of by sorting.
    """
    change = torch.empty_like(x)
    for rows in row_chunks(x):
        change[rows] = _to_hyperplane(x[rows], slope[rows], rise[rows], norm, bounds)
    return change


def _to_hyperplane(x: Tensor, slope: Tensor, rise: Tensor, norm: Norm, bounds: tuple[float, float]) -> Tensor:
    sign = slope.sign() * rise.sign().reshape(-1, *[1] * (x.ndim - 1))
    room = torch.where(sign > 0, bounds[1] - x, x - bounds[0])  # without slope it does not matter
    room = room.clamp_min(0).flatten(1)  # a rounding may have passed the bound
    steepest = Linf().size(slope)[:, None]
    scale = torch.where(steepest > 0, steepest, 1)  # so that squares of slopes neither overflow nor vanish
    size, wanted = slope.abs().flatten(1) / scale, rise.abs()[:, None] / scale
    if isinstance(norm, L1):
        change = _steepest_first(size, room, wanted)
    elif isinstance(norm, L2):
        limit = torch.where(size > 0, room / size, 0)
        change = torch.minimum(_level(size.square(), limit, wanted) * size, room)
    else:
        change = torch.minimum(_level(size, room, wanted), room)
    return change.reshape(x.shape) * sign


def _level(weight: Tensor, limit: Tensor, wanted: Tensor) -> Tensor:
    """The smallest t >= 0 with sum_i weight_i min(t, limit_i) >= wanted, or the largest limit, (N, 1).

    The sum is concave in t and made of straight pieces, so Newton's steps from 0 never pass the solution and end in it.
    """
    level = torch.zeros_like(wanted)
    for _ in range(_ROUNDS):
        steepness = (weight * (limit > level)).sum(dim=1, keepdim=True)
        missing = wanted - (weight * torch.minimum(limit, level)).sum(dim=1, keepdim=True)
        step = torch.where(steepness > 0, missing / steepness, 0)
        level = level + step.clamp_min(0)
        if not bool((step > _PRECISION * level).any()):
            break
    return level


def _steepest_first(size: Tensor, room: Tensor, wanted: Tensor) -> Tensor:
    """Uses up the room of the value with the largest slope, then that of the next, until it is enough, (N, D)."""
    order = size.argsort(dim=1, descending=True)
    steep, free = size.gather(1, order), room.gather(1, order)
    gain = torch.where(steep > 0, steep * free, 0).cumsum(dim=1)
    missing = torch.cat([wanted, wanted - gain[:, :-1]], dim=1)
    used = torch.where(steep > 0, missing / steep, 0).clamp_min(0).minimum(free)
    return torch.zeros_like(size).scatter_(1, order, used)
