"""Square attack: random search that changes one window at a time; needs logits only, no gradients."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from robustlab.attacks.call import Call, craft
from robustlab.attacks.query import random_search
from robustlab.attacks.registry import ATTACKS, AttackSpec
from robustlab.attacks.windows import Grid, Sides, two_peaks
from robustlab.core import (
    L1,
    L2,
    Linf,
    Region,
    Streams,
    ThreatModel,
    margin,
    unfinished,
)
from robustlab.core.kinds import typed

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_FULL = 10_000  # queries for which the halvings were chosen
_BLOCK = 32  # queries whose draws are made together
_TILES = 5
_TINY = 1e-12


@dataclass(frozen=True)
class Schedule:
    """Size of the window at a query: a fraction of all places, halved after 10, 50, 200, ... queries.

    Args:
        fraction: fraction at the first query.
        stretch: factor of the queries of the halvings, which are those for 10,000 queries; below 1 for fewer.
    """

    fraction: float
    stretch: float

    def __call__(self, query: int) -> float:
        """The fraction at a query 0, 1, ..."""
        return self.fraction / (1 << bisect.bisect_left(_HALVINGS, int(query / self.stretch)))


@dataclass
class _Draws:
    """Uniform draws of each example and query, made many queries at a time."""

    streams: Streams
    width: int
    number: int = -1
    block: Tensor | None = None

    def at(self, query: int) -> Tensor:
        """The draws (N, W) for a query."""
        if self.block is None or query // _BLOCK != self.number:
            self.number = query // _BLOCK
            self.block = self.streams.uniform((_BLOCK, self.width), self.number)
        return self.block[:, query % _BLOCK]

    def take(self, rows: Tensor) -> _Draws:
        return _Draws(
            self.streams.take(rows), self.width, self.number, None if self.block is None else self.block[rows]
        )


@dataclass
class _Flips:
    """Linf: a window goes to the upper or the lower end of the budget, each channel by itself.

    Values are kept as (N, channels, places), first those at the lower ends, then those at the upper ones.
    """

    grid: Grid
    schedule: Schedule
    draws: _Draws
    ends: Tensor

    @staticmethod
    def begin(x: Tensor, region: Region, threat: ThreatModel, schedule: Schedule, streams: Streams) -> _Flips:
        grid, span = Grid.of(tuple(x.shape[1:])), 2 * threat.radius(x).to(x.dtype)
        ends = torch.cat([_flat(region.project_(x + sign * span), grid) for sign in (-1, 1)], dim=2)
        return _Flips(grid, schedule, _Draws(streams, len(grid.sides) + grid.channels), ends)

    def start(self, x: Tensor) -> Tensor:
        """Stripes: a random end of the budget for each channel and each place of the last direction."""
        up = self.draws.streams.fork(0x57A7).uniform((self.grid.channels, self.grid.sides[-1])) < 0.5
        low, high = self.ends.chunk(2, dim=2)
        return torch.where(up.repeat(1, 1, low.shape[2] // self.grid.sides[-1]), high, low).reshape(x.shape)

    def propose(self, x_best: Tensor, query: int) -> Tensor:
        """Changes one window of each example."""
        draws, directions = self.draws.at(query), len(self.grid.sides)
        places = self.grid.places(self.grid.window(self.schedule(query)), draws[:, :directions])
        end = (draws[:, directions:] < 0.5).long()[:, :, None] * (self.ends.shape[2] // 2)
        values = self.ends.gather(2, places + end)
        places = places.expand(-1, self.grid.channels, -1)
        return _flat(x_best, self.grid).scatter(2, places, values).reshape(x_best.shape)

    def take(self, rows: Tensor) -> Self:
        """The proposals for some of the examples."""
        return replace(self, draws=self.draws.take(rows), ends=self.ends[rows])


@dataclass
class _Bumps:
    """L2, L1: the perturbation of two windows goes into one of them, with two peaks added and the rest of the budget.

    Values are kept as (N, channels, places).
    """

    grid: Grid
    schedule: Schedule
    draws: _Draws
    threat: ThreatModel
    region: Region
    x: Tensor

    @staticmethod
    def begin(x: Tensor, region: Region, threat: ThreatModel, schedule: Schedule, streams: Streams) -> _Bumps:
        grid = Grid.of(tuple(x.shape[1:]))
        draws = _Draws(streams, 2 * len(grid.sides) + 1 + grid.channels)
        return _Bumps(grid, schedule, draws, threat, region, _flat(x, grid))

    @property
    def order(self) -> int:
        """Order of the norm: 2 or 1."""
        return 2 if self.threat.norm == L2() else 1

    def start(self, x: Tensor) -> Tensor:
        """Two peaks in each of five by five tiles."""
        tiles = self.grid.tiles(_TILES)
        draws = self.draws.streams.fork(0x57A7).uniform((len(tiles), 1 + self.grid.channels))
        delta = torch.zeros_like(self.x, dtype=torch.promote_types(x.dtype, torch.float32))
        for number, (window, first) in enumerate(tiles):
            places = self.grid.offsets(window, x.device) + first
            delta[:, :, places] = self._peaks(window, draws[:, number]).to(delta.dtype)
        return self._point(delta * self.threat.width, x)

    def propose(self, x_best: Tensor, query: int) -> Tensor:
        """Changes two windows of each example."""
        draws, directions = self.draws.at(query), len(self.grid.sides)
        window = self.grid.window(self.schedule(query), least=3, odd=True)
        here, there = (
            self.grid.places(window, part).expand(-1, self.grid.channels, -1)
            for part in draws[:, : 2 * directions].chunk(2, dim=1)
        )
        wide = torch.promote_types(x_best.dtype, torch.float32)
        delta = _flat(x_best, self.grid).to(wide) - self.x.to(wide)
        whole, old = self._size(delta.flatten(1))[:, :, None], delta.gather(2, here)
        own = self._size(old)
        delta.scatter_(2, here, 0.0)
        other = self._size(delta.gather(2, there))
        delta.scatter_(2, there, 0.0)
        new = self._peaks(window, draws[:, 2 * directions :]).to(wide) + old / (own + _TINY)
        new = new / (self._size(new) + _TINY) * self._available(whole, own, other)
        return self._point(delta.scatter_(2, here, new), x_best)

    def _available(self, whole: Tensor, own: Tensor, other: Tensor) -> Tensor:
        """The size that the window may have in each channel: that of both windows and its part of the unused budget."""
        eps, channels = self.threat.radius(self.x).to(whole.dtype), self.grid.channels
        if self.order == 2:
            return ((eps**2 - whole**2).clamp_min(0) / channels + own**2 + other**2).sqrt()
        # As released: more than there is; the projection takes back what is too much.
        return ((eps - whole).clamp_min(0) / channels + own + other) * channels

    def _peaks(self, window: Sides, draws: Tensor) -> Tensor:
        """Two peaks (N, channels, S), divided across a random direction, with a random sign in each channel."""
        patterns = two_peaks(window, self.order).to(draws.device)
        sign = torch.where(draws[:, 1:] < 0.5, 1.0, -1.0)[:, :, None]
        return patterns[(draws[:, 0] * len(patterns)).long()][:, None] * sign

    def _size(self, values: Tensor) -> Tensor:
        """The size in the last axis, which is kept."""
        size: Tensor = torch.linalg.vector_norm(values, self.order, dim=-1, keepdim=True)
        return size

    def _point(self, delta: Tensor, like: Tensor) -> Tensor:
        if self.order == 2:
            delta = L2().normalise(delta) * self.threat.radius(self.x).to(delta.dtype)
        return self.region.project_((self.x + delta).to(like.dtype).reshape(like.shape))

    def take(self, rows: Tensor) -> Self:
        """The proposals for some of the examples."""
        threat, region = self.threat.take(rows), self.region.take(rows)
        return replace(self, draws=self.draws.take(rows), threat=threat, region=region, x=self.x[rows])


def _flat(x: Tensor, grid: Grid) -> Tensor:
    """Examples as (N, channels, places)."""
    return x.reshape(x.shape[0], grid.channels, -1)


@typed
@dataclass(frozen=True)
class Square:
    """Square attack: random search over windows, with logits alone.

    Each query puts one window of each example at the edge of the budget, and keeps it where the margin grows. Inputs
    may have any shape: windows are squares in square images, have the proportions of other images, and are intervals
    of signals and of rows of values. Each example has windows of its own; the released code gives all examples the
    same ones, which never reach the last row and column.

    Args:
        threat: Linf, L2 or L1, eps and bounds.
        queries: number of windows tried, one forward pass each, after the start.
        share: fraction of all places that the first windows cover.
        rescaled: shrink the windows as fast as fits the number of queries, instead of as for 10,000.

    Source: Andriushchenko et al., Square Attack: a Query-Efficient Black-Box Adversarial Attack via Random Search,
    ECCV 2020; L1 as in Croce, Hein, Mind the Box, ICML 2021.
    """

    gradient_free: ClassVar[bool] = True
    random_start: ClassVar[bool] = True
    threat: ThreatModel
    queries: int = 5000
    share: float = 0.8
    rescaled: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.queries, int) or self.queries < 1:
            raise ValueError(f"queries must be a whole number >= 1, got {self.queries}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be a fraction of the input in (0, 1], got {self.share}")
        if self.threat.norm not in (Linf(), L2(), L1()):
            raise ValueError(f"Square works in Linf, L2 and L1, got {self.threat.norm}: choose one of them")

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        objective, x = call.objective(margin), call.x.contiguous()
        objective = objective if call.stop == "success" else replace(objective, finish=unfinished)
        schedule = Schedule(self.share, self.queries / _FULL if self.rescaled else 1.0)
        kind = _Flips if self.threat.norm == Linf() else _Bumps
        proposals = kind.begin(x, self.threat.region(x), self.threat, schedule, call.streams)
        return random_search(objective, proposals, proposals.start(x), queries=self.queries, stop=call.stop)

    __call__ = craft


ATTACKS.register("square", AttackSpec(Square, "random squares, no gradients", norms=("linf", "l2", "l1")))
