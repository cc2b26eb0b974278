"""Virtual adversarial perturbations: the direction in which the prediction changes most, without labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from robustlab.attacks.call import Call, craft, prepared
from robustlab.core import L2, Logits, Model, Norm, Score, Streams, ThreatModel, Twin, frozen, kl
from robustlab.core.gradients import gradient_by
from robustlab.core.kinds import typed
from robustlab.core.losses import classes_needed, finite_logits

Turn: TypeAlias = Callable[[Tensor], Tensor]

_LABEL = 0x7A7
_LARGEST = 500.0  # exp of more would overflow


@typed
@dataclass(frozen=True)
class VirtualAdversarial:
    """A step of the whole budget along the direction in which the predicted distribution changes most.

        x_adv = project(x + eps d),   d ~ argmax_{|d| = 1} KL(softmax(z(x)) || softmax(z(x + r d))) for small r

    Labels are not used, so that the inputs may be unlabelled: any class numbers will do as ``y``. There is no success
    either; ``stop`` changes nothing.

    Args:
        threat: norm, eps and bounds.
        iterations: of the power method, >= 1; with the pass for the clean inputs, ``iterations + 1`` passes forward
            and ``iterations`` back.
        xi: size of the step by which the change is measured, in the norm and in the units of the inputs; None: as
            in ``virtual_direction``, by the width of the bounds.
        divergence: from logits and those of the clean input, both (N, K) in float64, to (N,).

    Source: Miyato, Maeda, Koyama, Ishii, Virtual Adversarial Training, TPAMI 2019, algorithm 1. There xi is 1e-6, which
    in float32 leaves rounding errors or nothing; eps is measured after ZCA whitening for CIFAR-10, here in the units of
    the inputs; and x_adv may be out of bounds.
    """

    random_start: ClassVar[bool] = True
    threat: ThreatModel
    iterations: int = 1
    xi: float | None = None
    divergence: Score = kl

    def search(self, call: Call) -> Tensor:
        """The perturbed inputs (N, ...) of a call.

        Raises: ValueError if there is a target.
        """
        if call.target is not None:
            raise ValueError("a virtual adversarial perturbation has no target: it moves away from the clean answer")
        norm, region = self.threat.norm, call.threat.search_region(call.x)
        step = _Step(norm.steepest, self.xi, self.threat.width)
        power = _Power(call.twin, step, _checked(self.iterations, self.xi), self.divergence, classes_needed(call.y))
        direction = power.direction(call.x, random_direction(call.x, call.streams, norm))
        return region.shown(region.project_(direction * call.threat.radius(call.x).to(direction) + call.x))

    __call__ = craft


@typed
def random_direction(x: Tensor, streams: Streams, norm: Norm) -> Tensor:
    """A direction (N, ...) of unit size for each example, equally likely to all sides, in at least float32."""
    normal = streams.fork(_LABEL).normal(x.shape[1:], dtype=torch.float64)
    return norm.steepest(normal).to(torch.promote_types(x.dtype, torch.float32))


@typed
def virtual_direction(
    model: Model,
    x: Tensor,
    start: Tensor,
    *,
    turn: Turn | None = None,
    iterations: int = 1,
    xi: float | None = None,
    divergence: Score = kl,
) -> Tensor:
    """The direction of unit size in which the answer of a model changes most, by the power method.

        d <- turn(grad_r divergence(z(x + r), z(x)) at r = xi d)

    For a small xi the gradient is xi H d, H the Hessian at r = 0, so that in L2 this turns towards the dominant
    eigenvector of H. The answer to the clean inputs is a constant. The model is used in the modes it is in and left as
    it was; in training mode BatchNorm takes the statistics of each batch and keeps its running ones, and dropout drops
    the same units in all passes. Where the gradient is exactly zero, the direction stays as it is.

    Differences of probabilities near 0 and 1 do not fit float32, so the slope of the divergence by the logits is
    computed in float64, for the default one without cancellation, and scaled for each example before it goes back
    through the model.

    Args:
        model: from inputs (N, ...) to logits (N, K), or a twin.
        x: inputs (N, ...); may be without labels.
        start: directions (N, ...), from ``random_direction`` say.
        turn: makes directions of gradients: ``norm.steepest`` of any norm, with which for small xi the divergence never
            falls, or ``norm.normalise``, as Neural Structured Learning has it; None: that of L2, where both are one.
        iterations: >= 1; each is a pass forward and one back, besides one forward for the clean inputs.
        xi: factor of a direction to measure the change, in the units of the inputs; None: the one that gives a
            Euclidean length of sqrt(D u) for D values per input and the machine precision u of ``x``, so that each
            value moves by about sqrt(u): right for inputs about 1 wide.
        divergence: from logits and those of the clean input, both (N, K) in float64, to scores (N,).

    Returns: directions (N, ...) in at least float32, without gradient.
    Raises: ValueError if the model returns NaN, and for wrong settings.
    """
    if start.shape != x.shape:
        raise ValueError(f"start directions must have the shape of the inputs {tuple(x.shape)}, got {start.shape}")
    step = _Step(L2().steepest if turn is None else turn, xi)
    with prepared(model, x) as (twin, x_in):
        power = _Power(twin, step, _checked(iterations, xi), divergence)
        return power.direction(x_in, start.detach().to(torch.promote_types(x.dtype, torch.float32)))


def _checked(iterations: int, xi: float | None) -> int:
    if not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f"iterations must be a whole number >= 1, got {iterations}")
    if xi is not None and not 0 < xi < math.inf:
        raise ValueError(f"xi must be a finite number > 0 in the units of the inputs, got {xi}")
    return iterations


@dataclass(frozen=True)
class _Step:
    """Distance at which the change is measured, and the function of its gradient."""

    turn: Turn
    xi: float | None
    width: float = 1.0

    def along(self, direction: Tensor, dtype: torch.dtype) -> Tensor:
        if self.xi is not None:
            return direction * self.xi
        length = L2().size(direction).reshape(-1, *[1] * (direction.ndim - 1))
        xi = self.width * math.sqrt(torch.finfo(dtype).eps * direction[0].numel())
        return direction * (xi / torch.where(length > 0, length, 1))


@dataclass(frozen=True)
class _Power:
    """The power method on one model."""

    twin: Twin
    step: _Step
    iterations: int
    divergence: Score
    classes: int = 0
    """Classes that the model must have."""

    def direction(self, x: Tensor, start: Tensor) -> Tensor:
        parts = zip(self.twin.split(x), self.twin.split(start), strict=True)
        return torch.cat([self._turned(*part) for part in parts])

    def _turned(self, x: Tensor, direction: Tensor) -> Tensor:
        with torch.no_grad():
            clean = finite_logits(self._logits(x.clone())).double()  # who writes over the input is to find a copy
        for _ in range(self.iterations):
            turned = self.step.turn(self._gradient(x, direction, clean).to(direction.dtype))
            turns = (turned != 0).flatten(1).any(dim=1).reshape(-1, *[1] * (x.ndim - 1))
            direction = torch.where(turns, turned, direction)
        return direction

    def _gradient(self, x: Tensor, direction: Tensor, clean: Logits) -> Tensor:
        with torch.enable_grad():
            point = (x + self.step.along(direction, x.dtype)).to(x.dtype).requires_grad_()
            logits = self._logits(point, backward=True)
        return gradient_by(point, logits, self._slope(logits, clean))

    def _logits(self, x: Tensor, *, backward: bool = False) -> Logits:
        """Logits of a pass that begins with the same buffers and random state as all others, and restores them."""
        with frozen(self.twin.model):
            logits = self.twin.searched(x, self.classes, backward=backward)
        if bool(logits.isnan().any()):
            raise ValueError("the model returned NaN: check its logits for these inputs")
        return logits

    def _slope(self, logits: Logits, clean: Logits) -> Tensor:
        """The gradient of each divergence by its logits up to a factor, at most 1, in the dtype of the logits."""
        exact = finite_logits(logits.detach()).double()
        if self.divergence == kl:
            slope = _change_of_softmax(exact, clean)
        else:
            with torch.enable_grad():
                exact.requires_grad_()
                slope = gradient_by(exact, self.divergence(exact, clean).sum())
        largest = slope.abs().amax(dim=1, keepdim=True)
        return (slope / torch.where(largest > 0, largest, 1)).to(logits.dtype)


def _change_of_softmax(logits: Logits, clean: Logits) -> Tensor:
    """softmax(z) - softmax(z_clean), the slope of their divergence, as a multiple of the second largest probability.

    Each difference is p_i (exp(log q_i - log p_i) - 1), which loses nothing however small p_i is. For the likeliest
    class, whose probability may be 1 up to rounding, it is minus the sum of the others.
    """
    before, after = torch.log_softmax(clean, dim=1), torch.log_softmax(logits, dim=1)
    top = before.argmax(dim=1, keepdim=True)
    others = before.scatter(1, top, -torch.inf)
    ratio = (others - others.amax(dim=1, keepdim=True)).exp()
    change = ratio * torch.expm1((after - before).clamp_max(_LARGEST))
    return change.scatter(1, top, -change.sum(dim=1, keepdim=True))
