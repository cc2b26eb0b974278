"""Auto-PGD: projected gradient steps whose length follows each example's own progress, and its targeted form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from robustlab.attacks.apgd_rules import Rule, first_points, rule_for
from robustlab.attacks.call import Call, craft
from robustlab.attacks.facts import usual_label
from robustlab.attacks.ranked import Attempted, Job, Lanes, targeted_dlr, towards_likely
from robustlab.attacks.registry import ATTACKS, AttackSpec
from robustlab.core import (
    L1,
    Objective,
    Region,
    Score,
    ThreatModel,
    cross_entropy,
    dlr,
    unfinished,
)
from robustlab.core.kinds import typed

Phases = tuple[tuple[float, float], ...]
_PLAIN: Phases = ((1.0, 1.0),)
_NARROWING: Phases = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))


def climb(job: Job, region: Region, rule: Rule, start: Tensor, *, steps: int) -> Attempted:
    """Repeats: move, score, keep the best; at checkpoints the rule adapts.

    With ``stop="success"`` a row leaves at its first finished iterate, the start and the last one included, and one
    that never finishes returns its iterate of highest score. With ``stop="never"`` all return that.

    Args:
        job: inputs and the objective to maximise.
        region: feasible set of the result; it is modified.
        rule: step rule.
        start: first points (M, ...), inside the region, in at least float32.
        steps: number of moves; each costs one forward and backward pass, and there is one more forward pass.

    Returns: x_adv (M, ...) and scores.
    Raises: ValueError if the model returns NaN.
    """
    none = torch.full((job.x.shape[0],), -torch.inf, dtype=torch.float32, device=job.x.device)
    found = Attempted(torch.empty_like(job.x), none)
    at = _Climb.begin(job, region, rule, start)
    due = rule.checkpoints(steps)
    for step in range(1, steps + 1):
        if job.stop == "success" and not at.leave(found):
            return found
        at.move(with_gradient=step < steps)
        if step in due:
            at.adapt(due[step])
    if job.stop == "never" or at.leave(found):
        found.x_adv[at.rows], found.score[at.rows] = at.region.shown(at.x_best), at.score_best.float()
    return found


@dataclass
class _Climb:
    """The rows that are still climbing."""

    objective: Objective
    region: Region
    rule: Rule
    lanes: Lanes
    rows: Tensor
    x_adv: Tensor
    shown: Tensor
    score: Tensor
    finished: Tensor
    grad: Tensor
    x_best: Tensor
    score_best: Tensor
    grad_best: Tensor
    gains: Tensor

    @staticmethod
    def begin(job: Job, region: Region, rule: Rule, start: Tensor) -> _Climb:
        rows, shown = torch.arange(start.shape[0], device=start.device), region.shown(start)
        score, finished, grad = job.objective.gradient(shown)
        grad = grad.to(start.dtype)
        points = (start, shown, _defined(score), finished, grad, start, score, grad, torch.zeros_like(score))
        return _Climb(job.objective, region, rule, job.lanes, rows, *points)

    def leave(self, found: Attempted) -> bool:
        """Removes finished rows and attempts that they make needless; returns True if any row is left."""
        if bool(self.finished.any()):
            found.x_adv[self.rows[self.finished]] = self.shown[self.finished]
            found.score[self.rows[self.finished]] = torch.inf
            self.keep(self.lanes.going(self.finished))
        return self.rows.numel() > 0

    def keep(self, rows: Tensor) -> None:
        """Keeps some rows; ``shown`` is not needed any more."""
        self.region = self.region.keep_(rows)
        for name, part in list(vars(self).items()):
            if name not in {"region", "shown"}:
                setattr(self, name, part[rows] if isinstance(part, Tensor) else part.take(rows))

    def move(self, *, with_gradient: bool) -> None:
        """One step, its score and, unless it is the last, its gradient."""
        self.x_adv = self.region.project_(self.rule.move(self))
        self.shown = self.region.shown(self.x_adv)
        if with_gradient:
            score, self.finished, grad = self.objective.gradient(self.shown)
            self.grad = grad.to(self.x_adv.dtype)
        else:
            score, self.finished = self.objective(self.shown)
        self.gains += score > self.score
        self.score = _defined(score)
        better = score > self.score_best
        self.score_best = torch.where(better, score, self.score_best)
        better = better.reshape(-1, *[1] * (self.x_adv.ndim - 1))
        self.x_best = torch.where(better, self.x_adv, self.x_best)
        self.grad_best = torch.where(better, self.grad, self.grad_best)

    def adapt(self, window: int) -> None:
        """Continues some rows from their best point."""
        back = self.rule.adapt(self, window).reshape(-1, *[1] * (self.x_adv.ndim - 1))
        self.x_adv = torch.where(back, self.x_best, self.x_adv)
        self.grad = torch.where(back, self.grad_best, self.grad)
        self.gains.zero_()


def _defined(score: Tensor) -> Tensor:
    undefined = int(score.isnan().sum())
    if undefined:
        raise ValueError(f"the model returned NaN for {undefined} of {score.numel()} inputs under attack")
    return score


class _Settings(Protocol):
    """Settings that both attacks have."""

    @property
    def threat(self) -> ThreatModel: ...
    @property
    def steps(self) -> int: ...
    @property
    def rho(self) -> float: ...
    @property
    def phases(self) -> Phases | None: ...


def _check(self: _Settings) -> None:
    if not isinstance(self.steps, int) or self.steps < 1:
        raise ValueError(f"steps must be a whole number >= 1, got {self.steps}")
    if not 0 <= self.rho <= 1:
        raise ValueError(f"rho must be a fraction of the steps in [0, 1], got {self.rho}")
    if self.phases is not None and (not self.phases or self.phases[-1][0] != 1):
        raise ValueError(f"the last phase must be in the ball itself, with a factor of 1, got {self.phases}")


def _search(self: _Settings, job: Job) -> Attempted:
    """Climbs in wider balls first, if there are phases; only results of the last phase count."""
    phases = _divided(self.phases or (_NARROWING if isinstance(job.threat.norm, L1) else _PLAIN), self.steps)
    full = job._replace(objective=replace(job.objective, finish=unfinished), stop="never")
    x = job.x.to(torch.promote_types(job.x.dtype, torch.float32))
    found = Attempted(first_points(x, _widened(job.threat, phases[0][0]), job.streams), x)
    for number, (factor, steps) in enumerate(phases, start=1):
        part = job if number == len(phases) and job.stop == "success" else full
        threat = _widened(job.threat, factor)
        region = threat.search_region(job.x)
        start = region.project_(found.x_adv.to(x.dtype))
        rule = rule_for(x, threat, start, rho=self.rho, restarted=number > 1)
        found = climb(part, region, rule, start, steps=steps)
    return found


def _widened(threat: ThreatModel, factor: float) -> ThreatModel:
    if factor == 1:
        return threat
    eps = threat.eps * factor if isinstance(threat.eps, float) else tuple(e * factor for e in threat.eps)
    return replace(threat, eps=eps)


def _divided(phases: Phases, steps: int) -> list[tuple[float, int]]:
    """Factor and steps of each phase; the last one gets the rest, or all steps if there is no rest."""
    first = [(factor, math.ceil(fraction * steps)) for factor, fraction in phases[:-1]]
    left = steps - sum(count for _, count in first)
    return [*first, (1.0, left)] if left > 0 else [(1.0, steps)]


@typed
@dataclass(frozen=True)
class APGD:
    """Auto-PGD: projected gradient ascent with momentum that finds its own step size, from a random point.

    With ``stop="never"`` it returns each example's iterate of highest score.

    Args:
        threat: norm, eps and bounds.
        steps: number of steps.
        score: score that is maximised, such as ``cross_entropy`` or ``dlr``.
        rho: fraction of steps with a gain that is enough to keep the step size (Linf and L2).
        phases: factors of eps and fractions of the steps, for searches that begin in a wider ball; None: for L1
            ((3, 0.3), (2, 0.3), (1, 0.4)), else the ball alone.

    Source: Croce, Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks, ICML 2020; for L1: Mind the Box, ICML 2021.
    """

    random_start: ClassVar[bool] = True
    threat: ThreatModel
    steps: int = 100
    score: Score = cross_entropy
    rho: float = 0.75
    phases: Phases | None = None

    def __post_init__(self) -> None:
        _check(self)

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        return _search(self, Job.of(call, call.objective(self.score))).x_adv

    __call__ = craft


@typed
@dataclass(frozen=True)
class APGDT:
    """Auto-PGD towards each of the likeliest wrong classes in turn, with the targeted difference of logits ratio.

    Any wrong class is a success; misclassified inputs come back unchanged. If the call names a
    target, it is the only one tried and the only success.

    Args:
        threat: norm, eps and bounds.
        steps: number of steps towards each class.
        targets: largest number of classes; a model with K classes has K - 1.
        rho: as in ``APGD``.
        phases: as in ``APGD``.

    Source: as ``APGD``, section 4.
    """

    random_start: ClassVar[bool] = True
    threat: ThreatModel
    steps: int = 100
    targets: int = 9
    rho: float = 0.75
    phases: Phases | None = None

    def __post_init__(self) -> None:
        _check(self)
        if self.targets < 1:
            raise ValueError(f"targets must be a number of classes >= 1, got {self.targets}")

    @property
    def label(self) -> str:
        """Short name in reports."""
        return usual_label(self, "APGD-T")

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        return towards_likely(call, partial(_search, self), targeted_dlr, targets=self.targets)

    __call__ = craft


def _on(score: Score) -> Callable[[ThreatModel, int], APGD]:
    def build(threat: ThreatModel, steps: int = 100) -> APGD:
        return APGD(threat, steps, score)

    return build


def _each(threat: ThreatModel, steps: int = 100, targets: int = 9) -> APGDT:
    return APGDT(threat, steps, targets)


_CE = AttackSpec(_on(cross_entropy), "gradient steps up the loss")
ATTACKS.register("apgd", _CE)
ATTACKS.register("apgd-ce", _CE)
ATTACKS.register("apgd-dlr", AttackSpec(_on(dlr), "gradient steps up a ratio of logits"))
ATTACKS.register("apgd-t", AttackSpec(_each, "gradient steps towards each likely class"))
