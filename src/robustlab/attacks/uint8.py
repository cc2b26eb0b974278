"""Adversarial 8-bit images: every value is one of the 256 that a file can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustlab.attacks.call import Call, craft
from robustlab.attacks.maximise import Best
from robustlab.attacks.parts import threat_of
from robustlab.attacks.wrappers import Restarts, Targeted
from robustlab.core import Attack, Linf, Norm, Objective, Stop, ThreatModel
from robustlab.core.kinds import typed
from robustlab.core.rows import all_rows, row_chunks

_TOP = 255
_ROUNDING = 2.0**-23
"""Largest error of the difference of two levels in float32, as a fraction of the width of the bounds."""
_OFF = 2.0**-20
"""Largest distance of a value of an 8-bit image from its level, as a fraction of that width."""
_HALVINGS = 24


@typed
@dataclass(frozen=True)
class Uint8:
    """An attack whose results are 8-bit images: saved as PNG and loaded again, they still fool the model.

        x_adv = level / 255,   |level_adv - level| <= floor(255 eps) for Linf

    The result of the attack is rounded to levels inside the budget, once to the nearest and once as far along the
    perturbation as the budget allows, and the user's own model decides between them. Examples that lose their success
    by both are attacked once more at full strength. Values whose level does not change are those of the input, bit by
    bit; other values are exactly ``uint8.float() / 255``. With a budget below one level the input comes back.

    Levels are not exact in binary: the difference between the float32 values of 8/255 and 0 is 8/255 give or take
    1e-8. So that whole levels count as such, in Linf an eps of whole levels is larger in the ``threat`` of this attack
    than in that of the attack inside, by 2**-23 of the width of the bounds.

    Args:
        attack: the attack; its bounds must be finite, and level 0 and 255 are the lower and upper one.
    """

    attack: Attack

    @property
    def threat(self) -> ThreatModel:
        """Threat model of the attack, with room for the rounding of levels if eps is a whole number of them."""
        inner = threat_of(self.attack)
        if not isinstance(inner.norm, Linf):
            return inner

        def wider(eps: float) -> float:
            reach = _TOP * eps / inner.width
            whole = round(reach) > 0 and abs(reach - round(reach)) < _TOP * _ROUNDING
            return max(eps, min(eps + _ROUNDING * inner.width, inner.width)) if whole else eps

        return replace(inner, eps=wider(inner.eps) if isinstance(inner.eps, float) else tuple(map(wider, inner.eps)))

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call.

        Raises: ValueError if the inputs are no 8-bit images.
        """
        clean = call.x.contiguous()
        _check_levels(clean, call.threat)
        images, rows = _Images(clean, call.threat, call.judge(), Best.of(clean), call.stop), all_rows(clean)
        if call.stop == "success":
            rows = images.offer(rows, clean.clone())
        if rows.numel():
            x_adv = call.by(self.attack, rows)
            lost = images.lost(rows, x_adv, images.round(rows, x_adv))
            if lost.numel():
                images.round(lost, call.by(self.attack, lost, stop="never"))
        return images.best.x_adv

    __call__ = craft


def in_8_bits(attack: Attack) -> Attack:
    """The same attack on 8-bit images; wrappers for targets and restarts stay outside."""
    if isinstance(attack, Restarts | Targeted):
        return replace(attack, attack=in_8_bits(attack.attack))
    return Uint8(attack)


@dataclass(frozen=True)
class _Images:
    """The best 8-bit image of each example so far."""

    x: Tensor
    threat: ThreatModel
    judge: Objective
    best: Best
    stop: Stop

    def offer(self, rows: Tensor, images: Tensor) -> Tensor:
        """Keeps the images that are better; returns the rows that go on."""
        score, finished = self.judge.take(rows)(images)
        if self.stop == "never":
            finished = torch.zeros_like(finished)
        self.best.update(rows, images, score, finished)
        return rows[~finished]

    def round(self, rows: Tensor, x_adv: Tensor) -> Tensor:
        """Tries both roundings of some results; returns the rows that go on."""
        going = rows
        for far in (False, True):
            if going.numel():
                some = x_adv[torch.isin(rows, going)]
                going = self.offer(going, rounded(self.x[going], some, self.threat.take(going), far=far))
        return going

    def lost(self, rows: Tensor, x_adv: Tensor, going: Tensor) -> Tensor:
        """Rows that were a success before they were rounded, of those that go on."""
        if self.stop == "never" or not going.numel():
            return going[:0]
        _, finished = self.judge.take(going)(x_adv[torch.isin(rows, going)])
        return going[finished]


def levels(bounds: tuple[float, float], like: Tensor) -> Tensor:
    """Values of the levels 0..255 (256,) in float32, then in the dtype and on the device of ``like``."""
    low, high = bounds
    exact = low + (high - low) * torch.arange(_TOP + 1, dtype=torch.float64, device=like.device) / _TOP
    return exact.float().to(like.dtype)


def _check_levels(x: Tensor, threat: ThreatModel) -> None:
    if not math.isfinite(threat.bounds[1] - threat.bounds[0]):
        raise ValueError(f"8-bit images need finite bounds, those of the threat model are {threat.bounds}")
    grid, off = levels(threat.bounds, x), 0.0
    for rows in row_chunks(x):
        part = x.detach()[rows]
        off = max(off, float((part - grid[_nearest(part, threat.bounds)]).abs().amax()))
    if off > threat.width * max(_OFF, torch.finfo(x.dtype).eps / 2):
        raise ValueError(
            f"inputs are no 8-bit images: values are up to {off * _TOP / threat.width:.2g} levels from one of the 256; "
            "round them first, (255 * x).round() / 255 in bounds (0, 1)"
        )


def _nearest(x: Tensor, bounds: tuple[float, float]) -> Tensor:
    """The number of the level next to each value, int64."""
    low, high = bounds
    return ((x.double() - low) * (_TOP / (high - low))).round_().long().clamp_(0, _TOP)


def rounded(x: Tensor, x_adv: Tensor, threat: ThreatModel, *, far: bool) -> Tensor:
    """8-bit images near adversarial inputs, inside the budget exactly.

    Args:
        x: 8-bit images (N, ...), up to rounding.
        x_adv: adversarial inputs (N, ...).
        threat: norm, eps and finite bounds.
        far: go along the perturbation as far as the budget allows; else round to the nearest level where the budget
            allows it. In L2 and L1 that scales the perturbation before it is rounded, which is how to spend a budget of
            levels on a direction; in Linf each value goes its own way to the edge of the ball.

    Returns: images (N, ...) in the dtype of ``x``; values whose level is that of ``x`` are those of ``x``.
    """
    out, radius = torch.empty_like(x), threat.radius(x).expand(x.shape[0], *[1] * (x.ndim - 1))
    for rows in row_chunks(x):
        one = _Rounding.of(x[rows], x_adv[rows], threat, radius[rows])
        out[rows] = one.far() if far else one.near()
    return out


@dataclass(frozen=True)
class _Rounding:
    """Some inputs, and their perturbations in units of levels."""

    x: Tensor
    level: Tensor
    """Levels of the inputs, int64."""
    change: Tensor
    """Perturbations in levels, float64."""
    grid: Tensor
    """Values of the levels (256,)."""
    norm: Norm
    radius: Tensor
    """(N, 1, ..., 1), float64."""
    reach: tuple[Tensor, Tensor] | None
    """In Linf: the lowest and highest level of each value."""

    @staticmethod
    def of(x: Tensor, x_adv: Tensor, threat: ThreatModel, radius: Tensor) -> _Rounding:
        x, x_adv = x.contiguous(), x_adv.contiguous()
        grid, level = levels(threat.bounds, x), _nearest(x, threat.bounds)
        change = (x_adv.double() - x.double()) * (_TOP / (threat.bounds[1] - threat.bounds[0]))
        reach = _reach(x.double(), level, grid.double(), radius) if isinstance(threat.norm, Linf) else None
        return _Rounding(x, level, change, grid, threat.norm, radius, reach)

    def near(self) -> Tensor:
        whole = torch.ones_like(self.radius)
        fits = self.fits(whole)
        return self.at(whole if bool(fits.all()) else torch.where(fits, whole, self.largest(whole)))

    def far(self) -> Tensor:
        if self.reach is not None:
            return replace(self, change=self.change.sign() * _TOP).at(torch.ones_like(self.radius))
        length = Linf().size(self.change).reshape(self.radius.shape)
        width = float(self.grid[-1].double() - self.grid[0].double())
        return self.at(self.largest(2 * (self.radius * (_TOP / width) + 1) / length.clamp_min(1e-9)))

    def at(self, scale: Tensor) -> Tensor:
        """The perturbation times a scale (N, 1, ..., 1), rounded."""
        new = (self.change * scale).round_().long().add_(self.level)
        new = new.clamp_(0, _TOP) if self.reach is None else new.clamp_(*self.reach)
        return torch.where(new == self.level, self.x, self.grid[new])

    def fits(self, scale: Tensor) -> Tensor:
        size = self.norm.size(self.at(scale).double() - self.x.double())
        return size.reshape(self.radius.shape) <= self.radius

    def largest(self, most: Tensor) -> Tensor:
        """The largest scale below ``most`` that fits, by bisection; 0 always fits."""
        low, high = torch.zeros_like(most), most
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            fits = self.fits(middle)
            low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
        return low


def _reach(x: Tensor, level: Tensor, grid: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and highest level of each value whose difference in float64 is within the radius."""
    low = torch.searchsorted(grid, x - radius).clamp_(0, _TOP)
    high = torch.searchsorted(grid, x + radius, right=True).sub_(1).clamp_(0, _TOP)
    low = torch.where(x - grid[low] > radius, low + 1, low)
    high = torch.where(grid[high] - x > radius, high - 1, high)
    return torch.minimum(low, level), torch.maximum(high, level)
