"""Curvature of the loss around an input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from robustlab.core import L2, Objective, Score, cross_entropy, untargeted
from robustlab.core.gradients import gradient_by
from robustlab.core.kinds import typed
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject

_PURPOSE = 0xC0B7E


@typed
@dataclass(frozen=True)
class Curvature:
    """Largest absolute eigenvalue of the Hessian H of a loss by the input, by power iteration.

        v <- H v / ||H v||_2,   at the end ||H v||_2
        H v = (grad l(x + h v) - grad l(x - h v)) / 2h,   or exactly, by a second derivative

    The result is at most the eigenvalue's absolute value, and reaches it with more steps. A ReLU network is linear
    between its kinks: the second derivative does not see the kinks, and has of the loss only the part of the softmax.
    The finite difference sees the kinks within h, and is the default. Two forward and two backward passes per step;
    exactly, one forward and two backward.

    Args:
        steps: of the power iteration, >= 1.
        length: h in L2 units of the input, > 0.
        exact: True for the second derivative; attention then runs in torch's own math, as fused kernels have none.
        score: of the labels: the loss, or another score.

    Raises: ValueError for steps or a length out of range.
    Source: Moosavi-Dezfooli, Fawzi, Uesato, Frossard, Robustness via Curvature Regularization, and Vice Versa, CVPR
    2019.
    """

    steps: int = 10
    length: float = 0.1
    exact: bool = False
    score: Score = cross_entropy

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be a whole number >= 1, got {self.steps}")
        if not 0 < self.length < math.inf:
            raise ValueError(f"length must be a finite number > 0, got {self.length}")

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(self.steps, 2 * self.steps) if self.exact else Cost(2 * self.steps, 2 * self.steps)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,), >= 0, in units of the loss per square of the L2 norm."""
        x, objective = subject.x, untargeted(subject.twin, subject.y, self.score)
        product = self._exact if self.exact else self._difference
        start = subject.case.streams.fork(_PURPOSE).normal(x.shape[1:], dtype=torch.float64)
        size, direction = torch.ones(len(x), dtype=torch.float64, device=x.device), L2().steepest(start)
        for _ in range(self.steps):
            bent = product(objective, x, direction.to(x.dtype)).double()
            size, direction = L2().size(bent), L2().steepest_(bent)
        return size

    def _difference(self, objective: Objective, x: Tensor, direction: Tensor) -> Tensor:
        ahead, behind = x + self.length * direction, x - self.length * direction
        grads = (objective.gradient(points, stop="never")[2].double() for points in (ahead, behind))
        return (next(grads) - next(grads)) / (2 * self.length)

    def _exact(self, objective: Objective, x: Tensor, direction: Tensor) -> Tensor:
        parts = zip(*map(objective.twin.split, (x, objective.truth, direction)), strict=True)
        with sdpa_kernel(SDPBackend.MATH):
            return torch.cat([self._product(objective, *part) for part in parts])

    def _product(self, objective: Objective, x: Tensor, truth: Tensor, direction: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            loss = self.score(objective.twin.searched(x, objective.labels, backward=True), truth).sum()
            objective.twin.passes.backward += len(x)
            (grad,) = torch.autograd.grad(loss, x, create_graph=True) if loss.requires_grad else (torch.zeros_like(x),)
            return gradient_by(x, (grad * direction).sum())


_UNIT = "loss / (L2 of inputs) squared"
NUMBERS.register(
    "curvature",
    NumberSpec(Curvature, "largest curvature of the loss", _UNIT, "lower", "Moosavi-Dezfooli et al. 2019", "model"),
)
