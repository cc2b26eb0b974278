"""Bounds of valid inputs in the dtype of the inputs.

Most bounds of normalised data, as (0 - 0.485) / 0.229, are no number of float32, and inputs that were computed in
float32 pass them by a rounding or two. Such an input is valid and may stay where it is; nothing is moved any further.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Bounds = tuple[float, float]
_ROUNDINGS = 2
"""Units in the last place of a bound: mean, difference, deviation and quotient are rounded by half a unit each."""


def widened(bounds: Bounds, dtype: torch.dtype) -> Bounds:
    """The bounds and what rounding may add to them, as numbers of the dtype.

    A bound that is a short number, as 0, 1, -1, 0.5 and 255, is exact in every dtype, and so are the inputs at it.
    Any other may be passed by two units in its last place; inputs in float64 were most often computed in float32.

    Example:
        >>> widened((0.0, 1.0), torch.float32)
        (0.0, 1.0)
        >>> low, high = widened((-2.1179039301310043, 2.64), torch.float32)
        >>> low < float(torch.tensor(-0.485) / 0.229) < -2.1179039301310043
        True
    """
    low, high = (_widened(bound, sign, dtype) for bound, sign in zip(bounds, (-1, 1), strict=True))
    return low, high


def _widened(bound: float, sign: int, dtype: torch.dtype) -> float:
    if _as(bound, torch.bfloat16) == bound:
        return bound
    unit = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps) * abs(bound)
    return _as(bound + sign * _ROUNDINGS * unit, dtype)


def _as(value: float, dtype: torch.dtype) -> float:
    return torch.tensor(value, dtype=dtype).item()


def inner(bounds: Bounds, dtype: torch.dtype) -> Bounds:
    """The smallest and largest numbers of the dtype within the bounds."""
    low, high = (torch.tensor(b, dtype=dtype) for b in bounds)
    if low.item() < bounds[0]:
        low = torch.nextafter(low, torch.full_like(low, math.inf))
    if high.item() > bounds[1]:
        high = torch.nextafter(high, torch.full_like(high, -math.inf))
    return low.item(), high.item()


def limits(x: Tensor, bounds: Bounds, dtype: torch.dtype | None = None) -> tuple[Tensor | float, Tensor | float]:
    """Limits for each value: the numbers within the bounds, or the value itself if it is beyond them.

    Args:
        x: inputs (N, ...).
        bounds: of valid inputs.
        dtype: in which the inputs were rounded; None: their own.

    Returns: lowest and highest values, each a number, or like ``x`` where rounding may have passed the bound.
    """
    low, high = inner(bounds, x.dtype)
    least, most = widened(bounds, dtype or x.dtype)
    return (
        low if least >= low else torch.where((x < low) & (x >= least), x, low),
        high if most <= high else torch.where((x > high) & (x <= most), x, high),
    )


def at_least_(x: Tensor, low: Tensor | float) -> Tensor:
    """Values raised to a lower limit, in place."""
    return torch.maximum(x, low, out=x) if isinstance(low, Tensor) else x.clamp_(min=low)


def at_most_(x: Tensor, high: Tensor | float) -> Tensor:
    """Values cut to an upper limit, in place."""
    return torch.minimum(x, high, out=x) if isinstance(high, Tensor) else x.clamp_(max=high)


def valid(x: Tensor, x_adv: Tensor, bounds: Bounds) -> Tensor:
    """Mask (N,) of the rows of ``x_adv`` within the bounds in their dtype; a value may stay out where ``x`` is."""
    low, high = limits(x.detach(), bounds)
    least, most = (_as(bound, x_adv.dtype) for bound in bounds)
    least, most = min(least, bounds[0]), max(most, bounds[1])
    below = low.double().clamp_max(least).flatten(1) if isinstance(low, Tensor) else least
    above = high.double().clamp_min(most).flatten(1) if isinstance(high, Tensor) else most
    flat = x_adv.double().flatten(1)  # in half types a bound would be rounded before comparing
    return ((flat >= below) & (flat <= above)).all(dim=1)


def outside(low: float, high: float, bounds: Bounds, dtype: torch.dtype) -> str | None:
    """Range of inputs in words, to follow "inputs lie", if it is out of bounds by more than rounding; else None.

    Args:
        low: the smallest value of the inputs.
        high: the largest one.
        bounds: of valid inputs.
        dtype: of the inputs.
    """
    least, most = widened(bounds, dtype)
    if low >= least and high <= most:
        return None
    shown = (_digits(value, bound) for value, bound in zip((low, high), bounds, strict=True))
    return f"in [{', '.join(shown)}], outside the bounds {bounds}"


def _digits(value: float, bound: float) -> str:
    """A value with enough digits to differ from a bound."""
    close = value != bound and math.isfinite(bound) and math.isclose(value, bound, rel_tol=1e-4, abs_tol=1e-6)
    return f"{value:.9g}" if close else f"{value:g}"
