"""Threat models: a ball of a norm around the input, cut by the bounds of valid inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from robustlab.core.bounds import Bounds, at_least_, at_most_, limits, valid
from robustlab.core.kinds import checked_kind
from robustlab.core.norms import Linf, Norm, per_example
from robustlab.core.random import Streams
from robustlab.core.rows import kept_rows_, row_chunks

NO_MASKS = "budgets per channel or pixel, and masks, are not offered"
_SLACK = 1 - 1e-12  # room for the rounding of a sum of squares in float64
_EDGE = 1 - 5e-13  # closer to the surface, whether it is inside depends on the order of the sum


class Region(Protocol):
    """The feasible set of one batch, prepared once so that each projection is cheap."""

    def project_(self, x_adv: Tensor) -> Tensor:
        """Moves each row into its feasible set; may overwrite ``x_adv``."""

    def shown(self, x_adv: Tensor) -> Tensor:
        """Projected points for the model: in the dtype of the inputs, exactly inside."""

    def inward(self, x_adv: Tensor, grad: Tensor) -> Tensor:
        """The gradient with 0 where it would push a value beyond its bound; may overwrite ``grad``."""

    def take(self, rows: Tensor) -> Region:
        """The region of some of the examples; ``rows`` is a mask (N,) or row numbers."""

    def keep_(self, rows: Tensor) -> Region:
        """The same for ascending row numbers (M,); this region may be overwritten."""


@dataclass(frozen=True)
class ThreatModel:
    """Threat model: the input may change by at most ``eps`` in ``norm`` and stays within ``bounds``.

    The budget holds exactly: ``norm.size(x_adv.double() - x.double()) <= eps`` for every dtype and norm.

    Args:
        norm: a norm object.
        eps: radius >= 0 in the units of ``bounds``; one for all, or one per example (kept as a tuple).
        bounds: smallest and largest valid input value; may be infinite.

    Raises: ValueError if eps is negative, NaN, or written in 0..255 units for inputs in [0, 1], and for budgets or
        bounds per channel or per pixel.

    Example:
        >>> ThreatModel(Linf(), 8 / 255)
        ThreatModel(norm=Linf(), eps=0.03137254901960784, bounds=(0.0, 1.0))
    """

    norm: Norm = field(default_factory=Linf)
    eps: float | Sequence[float] | Tensor = 8 / 255
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        eps, bounds = checked_budget(self.norm, self.eps, self.bounds)
        object.__setattr__(self, "eps", eps)
        object.__setattr__(self, "bounds", bounds)

    @property
    def width(self) -> float:
        """High minus low bound, 1 if that is infinite: the scale of what does not follow eps."""
        width = self.bounds[1] - self.bounds[0]
        return width if math.isfinite(width) else 1.0

    def radius(self, x: Tensor) -> Tensor:
        """The eps of each example in float64, (N, 1, ..., 1) or ()."""
        eps = torch.tensor(self.eps, dtype=torch.float64, device=x.device)
        return per_example(eps, x.new_empty(()).double().expand(x.shape))

    def region(self, x: Tensor) -> Region:
        """The feasible set around a batch of inputs (N, ...)."""
        return self._region(x, x.dtype)

    def _region(self, x: Tensor, rounded: torch.dtype) -> Region:
        if isinstance(self.norm, Linf):
            return _Box.of(x, self.radius(x), self.bounds, rounded)
        radius = self.radius(x).expand(x.shape[0], *[1] * (x.ndim - 1))
        return _Ball(self.norm, x, radius, self.bounds, rounded)

    def search_region(self, x: Tensor) -> Region:
        """The same for a search whose points are in at least float32, also around inputs of half types."""
        if torch.finfo(x.dtype).bits >= 32:
            return self.region(x)
        return _Fine(self._region(x.float(), x.dtype), self.region(x), x.dtype)

    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """The points of the feasible set around ``x`` near ``x_adv``; both (N, ...) of one dtype."""
        return self.region(x.detach()).project_(x_adv.detach().clone())

    def sample(self, x: Tensor, streams: Streams) -> Tensor:
        """Uniform points of the ball around each input, cut to the bounds."""
        return self.region(x).project_(self.perturbed(x, streams))

    def perturbed(self, x: Tensor, streams: Streams) -> Tensor:
        """Uniform points of the ball around each input, which may be out of bounds."""
        radius, out = self.radius(x), torch.empty_like(x)
        for rows in row_chunks(x):
            eps = radius[rows].reshape(-1) if radius.ndim else radius
            out[rows] = self.norm.sample(x[rows], eps, streams[rows]).add_(x[rows])
        return out

    def contains(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """Mask (N,) of the rows of ``x_adv`` exactly within the budget, and within the bounds in their dtype."""
        return valid(x, x_adv, self.bounds) & (
            self.norm.size(x_adv.double() - x.double()) <= self.radius(x).reshape(-1)
        )

    def take(self, rows: Tensor) -> ThreatModel:
        """The threat model of some of the examples; ``rows`` is a mask (N,) or row numbers."""
        if isinstance(self.eps, float):
            return self
        return ThreatModel(self.norm, torch.tensor(self.eps, dtype=torch.float64)[rows.cpu()], self.bounds)


def checked_budget(norm: Norm, eps: object, bounds: object) -> tuple[float | tuple[float, ...], tuple[float, float]]:
    """Eps and bounds as Python floats.

    Raises: ValueError if they are no budget in this norm and these bounds.
    """
    checked_kind("ThreatModel", "norm", norm, Norm)
    ends = numbers(
        bounds, "bounds", "two numbers for all inputs, (low, high); bounds per channel or pixel are not offered"
    )
    if ends.shape != (2,):
        raise ValueError(f"bounds must be two numbers, (low, high), got {bounds}")
    low, high = ends.tolist()
    if not low < high:
        raise ValueError(f"bounds must be (low, high) with low < high, got {bounds}")
    radii = numbers(eps, "eps", f"one number for all inputs, or one per example, (N,); {NO_MASKS}")
    if not radii.numel():
        raise ValueError("eps must be one number for all inputs, or one per example, got none")
    kept = tuple(radii.tolist()) if radii.ndim else (radii.item(),)
    for value in kept:
        _check_eps(value, norm, high - low)
    return kept if radii.ndim else kept[0], (low, high)


def numbers(given: object, name: str, offered: str) -> Tensor:
    """A number, or some in a row, in float64, () or (M,).

    Args:
        given: a number, a sequence, an array or a tensor.
        name: of the argument.
        offered: allowed values, for the message.

    Raises: ValueError for anything else: more than one axis, truth values, no numbers.
    """
    nested = isinstance(given, Sequence) and any(getattr(one, "ndim", 0) for one in given)
    try:
        values = torch.as_tensor(math.nan if nested else given)
        plain = not nested and values.ndim <= 1 and values.dtype is not torch.bool and not values.is_complex()
    except (TypeError, ValueError, RuntimeError):
        plain = False
    if not plain:
        raise ValueError(f"{name} must be {offered}; got {_described(given)}")
    return torch.as_tensor(given, dtype=torch.float64).detach()


def _described(given: object) -> str:
    shape = getattr(given, "shape", None)
    return repr(given)[:80] if shape is None else f"{type(given).__name__} of shape {tuple(shape)}"


def _check_eps(eps: float, norm: Norm, width: float) -> None:
    if not (math.isfinite(eps) and eps >= 0):
        raise ValueError(f"eps must be a finite number >= 0, got {eps}")
    if isinstance(norm, Linf) and eps > width:
        hint = f"; eps is in the units of the inputs: write {eps:g}/255" if width == 1 else ""
        raise ValueError(f"eps={eps:g} is more than the whole range of the inputs ({width:g}){hint}")


def _toward(point: Tensor, x: Tensor, limit: Tensor) -> Tensor:
    """Moves each value by single last bits towards ``x`` until ``|point - x| <= limit`` in float64."""
    for _ in range(4):
        over = (point.double() - x.double()).abs() > limit
        if not bool(over.any()):
            break
        point = torch.where(over, torch.nextafter(point, x), point)
    return point


def _safe_radius(x: Tensor, radius: Tensor, bounds: Bounds) -> Tensor:
    """Radii slightly smaller, so that no sum with an input rounds out of the ball; NaN where that costs precision.

    One last bit of the largest possible sum is less than a hundred-thousandth of eps then, and adding is all that is
    left to do. Small radii, unbounded inputs and other dtypes than float32 go the exact way in float64.
    """
    bit = (max(abs(bound) for bound in bounds) + radius) * torch.finfo(torch.float32).eps
    fine = (radius > 1e5 * bit) if x.dtype == torch.float32 else torch.zeros_like(radius, dtype=torch.bool)
    return torch.where(fine, radius - bit, torch.nan).to(x.dtype)


@dataclass(frozen=True)
class _Box:
    """An Linf ball cut by the bounds: a projection is one clamp."""

    low: Tensor
    high: Tensor

    @staticmethod
    def of(x: Tensor, radius: Tensor, bounds: Bounds, rounded: torch.dtype) -> _Box:
        box, inner = _Box(torch.empty_like(x), torch.empty_like(x)), _safe_radius(x, radius, bounds)
        for rows in row_chunks(x):
            part, eps, safe = (t[rows] if t.ndim else t for t in (x, radius, inner))
            below, above = part - safe, part + safe
            exact = safe.isnan()
            if bool(exact.any()):
                below = torch.where(exact, _toward((part.double() - eps).to(x.dtype), part, eps), below)
                above = torch.where(exact, _toward((part.double() + eps).to(x.dtype), part, eps), above)
            low, high = limits(part, bounds, rounded)
            box.low[rows], box.high[rows] = at_least_(below, low), at_most_(above, high)
        return box

    def project_(self, x_adv: Tensor) -> Tensor:
        return torch.clamp(x_adv, self.low, self.high, out=x_adv)

    def shown(self, x_adv: Tensor) -> Tensor:
        return x_adv

    def inward(self, x_adv: Tensor, grad: Tensor) -> Tensor:
        """The gradient itself: a step of one value does not take from the budget of another."""
        del x_adv
        return grad

    def take(self, rows: Tensor) -> _Box:
        return _Box(self.low[rows], self.high[rows])

    def keep_(self, rows: Tensor) -> _Box:
        return _Box(kept_rows_(self.low, rows), kept_rows_(self.high, rows))


@dataclass(frozen=True)
class _Ball:
    """A ball of any norm cut by the bounds."""

    norm: Norm
    x: Tensor
    radius: Tensor
    bounds: Bounds
    rounded: torch.dtype
    """Dtype in which the inputs were rounded, maybe beyond a bound."""

    def project_(self, x_adv: Tensor) -> Tensor:
        for rows in row_chunks(x_adv):
            x_adv[rows] = self.take(rows)._projected(x_adv[rows])
        return x_adv

    def shown(self, x_adv: Tensor) -> Tensor:
        return x_adv

    def _projected(self, x_adv: Tensor) -> Tensor:
        x, (low, high) = self.x, limits(self.x, self.bounds, self.rounded)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        delta = self.norm.project_box(x_adv.to(wide) - wide, self.radius.reshape(-1), low - wide, high - wide)
        x_adv = at_most_(at_least_((wide + delta).to(x.dtype), low), high)
        over = self.norm.size(x_adv.double() - x.double()) > self.radius.reshape(-1) * _EDGE
        if bool(over.any()):
            x_adv[over] = self.take(over)._mended(x_adv[over])
        return x_adv

    def _mended(self, x_adv: Tensor) -> Tensor:
        """Shrinks in float64 and rounds each value towards ``x``, so that no rounding can leave the ball."""
        delta = x_adv.double() - self.x.double()
        size = self.norm.size(delta).reshape(self.radius.shape)
        delta = delta * torch.where(size > 0, (self.radius / size) * _SLACK, 0)
        return _toward((self.x.double() + delta).to(self.x.dtype), self.x, delta.abs())

    def inward(self, x_adv: Tensor, grad: Tensor) -> Tensor:
        for rows in row_chunks(grad):
            low, high = limits(self.x[rows], self.bounds, self.rounded)
            x, g = x_adv[rows], grad[rows]
            g.masked_fill_(((x <= low) & (g < 0)) | ((x >= high) & (g > 0)), 0)
        return grad

    def take(self, rows: Tensor | slice) -> _Ball:
        return _Ball(self.norm, self.x[rows], self.radius[rows], self.bounds, self.rounded)

    def keep_(self, rows: Tensor) -> _Ball:
        return self.take(rows)  # its x may be the caller's


@dataclass(frozen=True)
class _Fine:
    """A float32 search around inputs of a half type, which would round away short steps and small gradients."""

    fine: Region
    coarse: Region
    dtype: torch.dtype

    def project_(self, x_adv: Tensor) -> Tensor:
        return self.fine.project_(x_adv)

    def shown(self, x_adv: Tensor) -> Tensor:
        return self.coarse.project_(x_adv.clone()).to(self.dtype)

    def inward(self, x_adv: Tensor, grad: Tensor) -> Tensor:
        return self.fine.inward(x_adv, grad)

    def take(self, rows: Tensor) -> _Fine:
        return _Fine(self.fine.take(rows), self.coarse.take(rows), self.dtype)

    def keep_(self, rows: Tensor) -> _Fine:
        return _Fine(self.fine.keep_(rows), self.coarse.keep_(rows), self.dtype)
