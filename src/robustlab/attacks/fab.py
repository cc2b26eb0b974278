"""Fast adaptive boundary attack: small perturbations by steps onto the linearised decision boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from robustlab.attacks.call import Call, craft
from robustlab.attacks.facts import usual_label, usual_passes
from robustlab.attacks.hyperplane import dual, to_hyperplane
from robustlab.attacks.ranked import Attempted, Job, ahead, gap, towards_likely
from robustlab.attacks.registry import ATTACKS, AttackSpec
from robustlab.attacks.smallest import approach
from robustlab.core import Norm, Objective, ThreatModel, margin
from robustlab.core.gradients import gradient_by
from robustlab.core.kinds import typed
from robustlab.core.losses import answerable, finite_logits

Boundary: TypeAlias = Callable[[Objective, Tensor], tuple[Tensor, Tensor]]
"""From points (N, ...) to the logit of another class minus that of the label (N,), and its gradient."""

_BITS = 16  # last bits of the largest value, by which a step changes each value at least
_GROWTH = 0.5  # of the perturbation: how far a step out of a tie goes
_LEAST = 1e-8  # a distance is at least this, so that ratios of two distances are defined


class _Settings(Protocol):
    """Settings that both attacks have."""

    @property
    def threat(self) -> ThreatModel: ...
    @property
    def steps(self) -> int: ...
    @property
    def alpha_max(self) -> float: ...
    @property
    def overshoot(self) -> float: ...
    @property
    def backward(self) -> float: ...


def _check(self: _Settings) -> None:
    if not isinstance(self.steps, int) or self.steps < 1:
        raise ValueError(f"steps must be a whole number >= 1, got {self.steps}")
    if not 0 <= self.alpha_max <= 1 or not 0 <= self.backward <= 1:
        raise ValueError(f"alpha_max and backward must be in [0, 1], got {self.alpha_max} and {self.backward}")
    dual(self.threat.norm)


@dataclass(frozen=True)
class _Steps:
    """A step back towards the input from a finished point, then one onto the boundary, or a bit beyond.

        x' = (1 - a) (x_adv + eta d1) + a (x + eta d2),   a = min(||d1|| / (||d1|| + ||d2||), alpha_max)

    d1 and d2 are the smallest changes of x_adv and of x that reach the boundary as it is linearised at x_adv.
    """

    of: _Settings
    boundary: Boundary
    dtype: torch.dtype

    def back(self, x: Tensor, x_adv: Tensor, finished: Tensor) -> Tensor:
        """Keeps a part of the perturbations that were successful."""
        return torch.where(_rows(finished, x), x + (x_adv - x) * self.of.backward, x_adv)

    def onward(self, objective: Objective, x: Tensor, x_adv: Tensor) -> Tensor:
        """The next points."""
        norm, bounds = self.of.threat.norm, self.of.threat.bounds
        difference, slope = self.boundary(objective, x_adv.to(self.dtype))
        slope = slope.to(x.dtype)
        difference = self._across(difference.to(x.dtype), slope, x_adv - x)
        rise = torch.cat([-difference, ((x_adv - x) * slope).flatten(1).sum(dim=1) - difference])
        points = torch.cat([x_adv, x])
        change = to_hyperplane(points, torch.cat([slope, slope]), rise, norm, bounds)
        near, far = norm.size(change).clamp_min(_LEAST).chunk(2)
        fraction = _rows((near / (near + far)).clamp_max(self.of.alpha_max), x)
        there, here = (points + self.of.overshoot * change).chunk(2)
        return ((1 - fraction) * there + fraction * here).clamp_(*bounds)

    def _across(self, difference: Tensor, slope: Tensor, delta: Tensor) -> Tensor:
        """Differences (N,), enlarged where they are so small that a step onto the boundary would be zero.

        In an exact tie the step is a fraction of the perturbation, so that it grows for as long as the tie lasts.
        """
        norm = self.of.threat.norm
        visible = max(_BITS * torch.finfo(delta.dtype).eps, torch.finfo(self.dtype).eps) * self.of.threat.width
        least = norm.size(torch.ones_like(delta[:1])) * visible
        least = torch.where(difference == 0, torch.maximum(least, _GROWTH * norm.size(delta)), least) * dual(norm).size(
            slope
        )
        return torch.where((difference <= 0) & (difference > -least), -least, difference)


def _rows(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _of_score(objective: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
    """The boundary where the score is 0."""
    score, _, grad = objective.gradient(x, stop="never")
    return score, grad


def _of_nearest_class(norm: Norm, objective: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
    """The boundary to the class that a linear model would reach with the smallest change.

    argmin_k |z_k - z_y| / ||grad z_k - grad z_y||_dual
    """
    twin = objective.twin
    parts = [
        _nearest_class(norm, objective.take(rows), x[rows])
        for rows in twin.split(torch.arange(len(x), device=x.device))
    ]
    difference, slope = map(torch.cat, zip(*parts, strict=True))
    return difference, slope


def _nearest_class(norm: Norm, objective: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
    y, rows = objective.truth[:, None], torch.arange(len(x), device=x.device)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = objective.twin.searched(x, objective.labels)
        wide = finite_logits(logits)
        differences = wide - wide.gather(1, y)
    slopes = torch.stack(
        [gradient_by(x, differences[:, k].sum(), retain_graph=True) for k in range(differences.shape[1])]
    )
    objective.twin.passes.backward += differences.numel()
    differences, steepness = differences.detach(), torch.stack([dual(norm).size(slope) for slope in slopes], dim=1)
    reach = torch.where(
        steepness > 0, differences.abs() / steepness, torch.inf
    )  # a class that does not move is not reached
    nearest = reach.masked_fill(~answerable(logits), torch.inf).scatter(1, y, torch.inf).argmin(dim=1)
    return differences[rows, nearest], slopes[nearest, rows]


@typed
@dataclass(frozen=True)
class FAB:
    """Fast adaptive boundary attack towards the nearest class; with a target in the call, towards the target.

    It searches for the smallest perturbation: with ``stop="never"`` the result is the smallest one of all steps, if
    it is within the budget. Each step costs a backward pass per class: with many classes use ``FABT``.

    Args:
        threat: norm, eps and bounds.
        steps: number of steps.
        random_start: start at a random point half as far out as the budget reaches, else at the input.
        alpha_max: largest weight of the input in a step.
        overshoot: length of a step, in distances to the boundary.
        backward: fraction of a successful perturbation that is kept for the next step.

    Source: Croce, Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack, ICML 2020,
    algorithm 1 without its final search, like the released code.
    """

    threat: ThreatModel
    steps: int = 100
    random_start: bool = field(default=False, kw_only=True)
    alpha_max: float = 0.1
    overshoot: float = 1.05
    backward: float = 0.9

    def __post_init__(self) -> None:
        _check(self)

    def passes_needed(self, classes: int) -> int:
        """Three passes a step, and a backward pass for each class."""
        return (3 + classes) * self.steps

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        boundary = partial(_of_nearest_class, self.threat.norm) if call.target is None else _of_score
        job = Job.of(call, call.objective(margin))
        return approach(job, _Steps(self, boundary, call.x.dtype), self._start(job), steps=self.steps).x_adv

    __call__ = craft

    def _start(self, job: Job) -> Tensor:
        x = job.x.to(torch.promote_types(job.x.dtype, torch.float32))
        if not self.random_start:
            return x.clone()
        direction = self.threat.norm.normalise(self.threat.norm.sample(x, 1.0, job.streams))
        return (x + direction * (job.threat.radius(x) / 2).to(x.dtype)).clamp_(*self.threat.bounds)


@typed
@dataclass(frozen=True)
class FABT:
    """Fast adaptive boundary attack towards each of the likeliest wrong classes in turn, one backward pass a step.

    Any wrong class is a success; misclassified inputs come back unchanged. If the call names a
    target, it is the only one tried and the only success.

    Args:
        threat: norm, eps and bounds.
        steps: number of steps towards each class.
        targets: largest number of classes; a model with K classes has K - 1.
        alpha_max: as in ``FAB``, like the rest.
        overshoot: length of a step.
        backward: fraction of a successful perturbation that is kept.

    Source: as ``FAB``, section 3.4; Croce, Hein, Reliable Evaluation ..., ICML 2020, section 5.
    """

    threat: ThreatModel
    steps: int = 100
    targets: int = 9
    alpha_max: float = 0.1
    overshoot: float = 1.05
    backward: float = 0.9

    def __post_init__(self) -> None:
        _check(self)
        if self.targets < 1:
            raise ValueError(f"targets must be a number of classes >= 1, got {self.targets}")

    @property
    def label(self) -> str:
        """Short name in reports."""
        return usual_label(self, "FAB-T")

    def passes_needed(self, classes: int) -> int:
        """Twice the usual: the end of each step is scored as well."""
        return 2 * usual_passes(self, classes)

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        score = gap if call.target is None else ahead
        return towards_likely(call, self._attempt, score, targets=self.targets)

    __call__ = craft

    def _attempt(self, job: Job) -> Attempted:
        start = job.x.to(torch.promote_types(job.x.dtype, torch.float32))
        return approach(job, _Steps(self, _of_score, job.x.dtype), start, steps=self.steps)


_NORMS = ("linf", "l2", "l1")
ATTACKS.register("fab", AttackSpec(FAB, "smallest change that crosses a boundary", norms=_NORMS))
ATTACKS.register("fab-t", AttackSpec(FABT, "smallest change towards each likely class", norms=_NORMS))
