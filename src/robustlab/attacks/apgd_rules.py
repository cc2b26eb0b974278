"""Step rules of Auto-PGD: steps with momentum whose length halves (Linf, L2), sparse steps (L1).

A rule holds its memory of each example, one row each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from robustlab.attacks.steps import alike
from robustlab.core import L1, Norm, Region, Streams, ThreatModel

_MOMENTUM = 0.25  # fraction of the last move in the next one
_TOP = 0.2  # fraction of all values that the first sparse step changes
_SPARSER = 0.95  # fewer changed values than this fraction of those before count as sparser
_SHRINK, _SHORTEST = 1.5, 10.0  # what sparse steps are divided by at a time, and at most


class Position(Protocol):
    """Current and best points of each example; its rows are those of the rule."""

    region: Region
    x_adv: Tensor
    grad: Tensor
    x_best: Tensor
    score_best: Tensor
    gains: Tensor
    """Steps since the last checkpoint whose score was higher than that of the step before (N,)."""


class Rule(Protocol):
    """Moves examples, and selects at checkpoints those that continue from their best point."""

    def checkpoints(self, steps: int) -> dict[int, int]:
        """Steps after which the rule adapts, each with the number of steps since the last one."""

    def move(self, at: Position) -> Tensor:
        """The next points (N, ...), not yet projected."""

    def adapt(self, at: Position, window: int) -> Tensor:
        """Examples that go back to their best point (N,) bool."""

    def take(self, rows: Tensor) -> Self:
        """The rule of some of the examples, by row numbers."""


def first_points(x: Tensor, threat: ThreatModel, streams: Streams) -> Tensor:
    """Random points to start from: on the surface of the ball, for L1 far outside it; to be projected."""
    if isinstance(threat.norm, L1):
        return x + streams.normal(x.shape[1:], dtype=x.dtype).mul_(threat.width)
    direction = threat.norm.normalise(threat.norm.sample(x, 1.0, streams))
    return x + direction.mul_(threat.radius(x).to(x.dtype))


def rule_for(x: Tensor, threat: ThreatModel, start: Tensor, *, rho: float, restarted: bool) -> Rule:
    """The rule for a norm.

    Args:
        x: inputs (N, ...).
        threat: of these inputs.
        start: first points (N, ...), within budget and bounds.
        rho: fraction of steps with a gain that is enough to keep the length (Linf, L2).
        restarted: True if the start is the end of an earlier search (L1).
    """
    radius = threat.radius(x).to(x.dtype).expand(x.shape[0], *[1] * (x.ndim - 1))
    if isinstance(threat.norm, L1):
        return Sparse.begin(x, radius, start, restarted=restarted)
    best_then = torch.full((x.shape[0],), -torch.inf, dtype=torch.float32, device=x.device)
    return Halving(threat.norm, rho, 2 * radius, best_then, torch.ones_like(best_then, dtype=torch.bool))


@dataclass
class Halving:
    """Steps along the steepest direction with momentum; their length is 2 eps, halved where it does not help.

        z = P(x + length * steepest(g)),   x' = P(x + 0.75 (z - x) + 0.25 (x - x_prev))

    At a checkpoint the length is halved, and the search goes on from the best point, if no more than rho of the steps
    had a gain, or if the length was kept last time and the best score has not risen since. The released code compares
    the very first step with 0 instead of with the start; we compare with the start.

    Source: Croce, Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks, ICML 2020, algorithm 1; windows as in the released code.
    """

    norm: Norm
    rho: float
    length: Tensor
    best_then: Tensor
    halved: Tensor
    x_prev: Tensor | None = None

    def checkpoints(self, steps: int) -> dict[int, int]:
        """0.22 of the steps, then each time 0.03 of them less, down to 0.06."""
        window, less, least = (max(int(fraction * steps), 1) for fraction in (0.22, 0.03, 0.06))
        due, now = {}, 0
        while now + window < steps:
            now += window
            due[now] = window
            window = max(window - less, least)
        return due

    def move(self, at: Position) -> Tensor:
        """The next points; the tensor of the points before the last is used again for them."""
        ahead = at.region.project_(self.norm.steepest(at.grad).mul_(self.length).add_(at.x_adv))
        before, self.x_prev = self.x_prev, at.x_adv
        if before is None:
            return ahead
        return before.mul_(-_MOMENTUM).add_(at.x_adv, alpha=2 * _MOMENTUM).add_(ahead, alpha=1 - _MOMENTUM)

    def adapt(self, at: Position, window: int) -> Tensor:
        """Halves the length of some examples, which also go back."""
        stuck = ~self.halved & (self.best_then >= at.score_best)
        self.halved = stuck | (at.gains <= self.rho * window)
        self.best_then = at.score_best.clone()
        self.length = torch.where(self.halved.reshape(self.length.shape), self.length / 2, self.length)
        return self.halved

    def take(self, rows: Tensor) -> Halving:
        """The rule of some of the examples, by row numbers."""
        x_prev = None if self.x_prev is None else self.x_prev[rows]
        return Halving(self.norm, self.rho, self.length[rows], self.best_then[rows], self.halved[rows], x_prev)


@dataclass
class Sparse:
    """Steps that change only the values with the largest gradients, all by the same amount.

        x' = P(x + length * s / ||s||_1),   s_i = sign(g_i) where |g_i| is among the k largest, else 0

    At a checkpoint k becomes the number of values that the best point changes, over 1.5. Where that number is lower
    by more than 5 % the length is eps again and the search goes on from the best point, elsewhere the length is divided
    by 1.5, down to eps / 10.

    A search that begins in a wider ball starts with a fifth of all values, as one without phases does. The released
    code takes the values of its random start instead, whose number its rounding about doubles.

    Source: Croce, Hein, Mind the Box: l1-APGD for Sparse Adversarial Attacks, ICML 2021, algorithm 1.
    """

    x: Tensor
    radius: Tensor
    length: Tensor
    changed: Tensor
    fraction: Tensor

    @staticmethod
    def begin(x: Tensor, radius: Tensor, start: Tensor, *, restarted: bool) -> Sparse:
        """After an earlier search, k follows from the start; else it is a fifth of all values."""
        values = math.prod(x.shape[1:])
        if not restarted:
            all_values = torch.full((x.shape[0],), float(values), dtype=torch.float32, device=x.device)
            return Sparse(x, radius, radius, all_values, torch.full_like(all_values, _TOP))
        changed = _changed(start, x)
        return Sparse(x, radius, radius, changed, changed / values / _SHRINK)

    def checkpoints(self, steps: int) -> dict[int, int]:
        """Every 0.04 of the steps."""
        window = max(int(0.04 * steps), 1)
        return dict.fromkeys(range(window, steps, window), window)

    def move(self, at: Position) -> Tensor:
        """The next points."""
        values = math.prod(at.grad.shape[1:])
        kept = values - ((1 - self.fraction) * values).long().clamp(0, values - 1)
        return at.x_adv + alike(at.grad, kept) * self.length

    def adapt(self, at: Position, window: int) -> Tensor:
        """Adapts length and sparsity; examples whose best point has become sparser go back."""
        del window
        changed = _changed(at.x_best, self.x)
        sparser = changed / self.changed.clamp_min(1) < _SPARSER
        shorter = torch.maximum(self.length / _SHRINK, self.radius / _SHORTEST)
        self.length = torch.where(sparser.reshape(self.length.shape), self.radius, shorter)
        self.changed, self.fraction = changed, changed / math.prod(self.x.shape[1:]) / _SHRINK
        return sparser

    def take(self, rows: Tensor) -> Sparse:
        """The rule of some of the examples, by row numbers."""
        return Sparse(self.x[rows], self.radius[rows], self.length[rows], self.changed[rows], self.fraction[rows])


def _changed(x_adv: Tensor, x: Tensor) -> Tensor:
    """Number of values of each example that differ from the input (N,)."""
    return (x_adv != x).reshape(x.shape[0], -1).sum(dim=1).float()
