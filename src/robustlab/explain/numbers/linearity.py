"""Linearity of the loss over a ball around the input."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustlab.attacks.maximise import maximise, uniform
from robustlab.attacks.steps import steepest
from robustlab.core import Linf, Norm, Objective, Score, Stop, ThreatModel, cross_entropy, untargeted
from robustlab.core.bounds import Bounds
from robustlab.core.kinds import typed
from robustlab.core.losses import unfinished
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, check_bounds, flat

_PURPOSE = 0x11EA6


@typed
@dataclass(frozen=True)
class LinearityError:
    """Largest error of the linear approximation of a loss l in a ball, by projected gradient ascent.

        max { |l(x + d) - l(x) - <d, grad l(x)>| : ||d|| <= eps, x + d within bounds }

    A lower limit of the maximum; the best of all iterates from a random start. 0 for a loss that is linear, large where
    gradients at the input say little about the ball, as under masked gradients. steps + 3 forward and steps + 1
    backward passes.

    Args:
        eps: radius of the ball in input units.
        steps: number of steps of 2.5 eps / steps each.
        norm: of the ball.
        bounds: of valid inputs.
        score: of the labels: the loss, or another score.

    Raises: ValueError for steps below 1; when called, for inputs out of bounds.
    Source: Qin, Martens, Gowal, Krishnan, Dvijotham, Fawzi, De, Stanforth, Kohli, Adversarial Robustness through Local
    Linearization, NeurIPS 2019, equation 5.
    """

    eps: float = 8 / 255
    steps: int = 10
    norm: Norm = field(default_factory=Linf)
    bounds: Bounds = (0.0, 1.0)
    score: Score = cross_entropy

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be a whole number >= 1, got {self.steps}")
        ThreatModel(self.norm, self.eps, self.bounds)

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(self.steps + 3, self.steps + 1)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,), >= 0, in units of the loss."""
        x, threat = subject.x, ThreatModel(self.norm, self.eps, self.bounds)
        check_bounds(x, self.bounds, "LinearityError")
        loss = replace(untargeted(subject.twin, subject.y, self.score).unconfirmed, finish=unfinished)
        value, _, slope = loss.gradient(x, stop="never")
        error = _Error(loss, x, value.double(), slope)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        start = uniform(wide, threat, subject.case.streams.fork(_PURPOSE))
        outside = (start < self.bounds[0]) | (start > self.bounds[1])
        start = torch.where(outside, 2 * wide - start, start)  # cut to the bounds it could be the input, without slope
        step = steepest(self.norm, 2.5 * self.eps / self.steps, self.bounds)
        return error(maximise(error, threat.search_region(x), start, step, steps=self.steps))[0]


@dataclass(frozen=True)
class _Error:
    """Absolute error of the linear approximation at each point."""

    loss: Objective
    x: Tensor
    value: Tensor
    slope: Tensor

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        score, finished = self.loss(x)
        return self._signed(x, score).abs(), finished

    def gradient(self, x: Tensor, *, stop: Stop = "success") -> tuple[Tensor, Tensor, Tensor]:
        score, finished, grad = self.loss.gradient(x, stop=stop)
        error = self._signed(x, score)
        sign = error.sign().to(grad.dtype).reshape(-1, *[1] * (grad.ndim - 1))
        return error.abs(), finished, (grad - self.slope).mul_(sign)

    def take(self, rows: Tensor | slice) -> _Error:
        return _Error(self.loss.take(rows), self.x[rows], self.value[rows], self.slope[rows])

    def _signed(self, x: Tensor, score: Tensor) -> Tensor:
        return score.double() - self.value - ((flat(x) - flat(self.x)) * flat(self.slope)).sum(1)


NUMBERS.register(
    "linearity-error",
    NumberSpec(
        LinearityError, "largest error of the loss's gradient in a ball", "loss", "lower", "Qin et al. 2019", "model"
    ),
)
