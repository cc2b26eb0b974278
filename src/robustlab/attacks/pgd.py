"""Gradient attacks inside a budget: FGSM, BIM, PGD, momentum, any optimizer; and random noise for comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from robustlab.attacks.call import craft
from robustlab.attacks.facts import usual_label
from robustlab.attacks.maximise import Plan, at_input, search, uniform
from robustlab.attacks.registry import ATTACKS, AttackSpec
from robustlab.attacks.steps import Optimizer, Size, Step, adam, momentum, steepest
from robustlab.core import Score, ThreatModel, cross_entropy
from robustlab.core.kinds import typed


def _length(threat: ThreatModel, step_size: float | None, factor: float) -> Size:
    """The step size if there is one, else a multiple of eps."""
    if step_size is not None:
        return float(step_size)
    return threat.eps * factor if isinstance(threat.eps, float) else tuple(e * factor for e in threat.eps)


def _checked(steps: int, step_size: float | None = None) -> int:
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number >= 1, got {steps}")
    if step_size is not None and not 0 < step_size < math.inf:
        raise ValueError(f"step_size must be a finite number > 0 in the units of the inputs, got {step_size}")
    return steps


@typed
@dataclass(frozen=True)
class FGSM:
    """Fast gradient method: one step of the whole budget along the direction of steepest ascent.

        x_adv = clip(x + eps * steepest(grad_x score(x, y)));   for Linf, steepest is the sign

    In L1 the step goes to the values with the largest gradients: enough of them that none moves by more than the width
    of the bounds, and at least a hundredth of all.

    Args:
        threat: norm, eps and bounds.
        step_size: length of the step; None: eps.
        random_start: start uniformly in the ball (then 1.25 * eps is a usual step).
        score: score that is maximised.

    Source: Goodfellow, Shlens, Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015; random start: Wong,
    Rice, Kolter, Fast is Better than Free, ICLR 2020.
    """

    threat: ThreatModel
    step_size: float | None = None
    random_start: bool = field(default=False, kw_only=True)
    score: Score = cross_entropy

    def plan(self) -> Plan:
        """One step."""
        size = _length(self.threat, self.step_size, 1.0 / _checked(1, self.step_size))
        start = uniform if self.random_start else at_input
        step = steepest(self.threat.norm, size, self.threat.bounds, furthest=1.0)
        return Plan(self.threat, step, 1, start, self.score)

    search = search
    __call__ = craft


@typed
@dataclass(frozen=True)
class BIM:
    """Basic iterative method: FGSM in small steps from the input itself, projected after each.

    Args:
        threat: norm, eps and bounds.
        steps: number of steps.
        step_size: length of each; None: eps / steps.
        score: score that is maximised.

    Source: Kurakin, Goodfellow, Bengio, Adversarial Examples in the Physical World, 2016, section 2.2.
    """

    threat: ThreatModel
    steps: int = 10
    step_size: float | None = None
    score: Score = cross_entropy

    def plan(self) -> Plan:
        """Small steps from the input."""
        size = _length(self.threat, self.step_size, 1 / _checked(self.steps, self.step_size))
        return Plan(self.threat, steepest(self.threat.norm, size, self.threat.bounds), self.steps, at_input, self.score)

    search = search
    __call__ = craft


@typed
@dataclass(frozen=True)
class PGD:
    """Projected gradient method from a random point of the ball; restarts are a wrapper.

        x_{t+1} = project(x_t + step_size * steepest(grad_x score(x_t, y)))

    In L1 a step goes alike to the values with the largest gradients (docs/decisions/0014-l1-steps.md); ``APGD`` finds
    far more there.

    Args:
        threat: norm, eps and bounds.
        steps: number of steps.
        step_size: length of each; None: 2.5 * eps / steps, which can cross the ball and come back.
        random_start: start uniformly in the ball, else at the input.
        score: score that is maximised.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, section 2.1.
    """

    threat: ThreatModel
    steps: int = 10
    step_size: float | None = None
    random_start: bool = field(default=True, kw_only=True)
    score: Score = cross_entropy

    def plan(self) -> Plan:
        """Steps of equal length."""
        size = _length(self.threat, self.step_size, 2.5 / _checked(self.steps, self.step_size))
        start = uniform if self.random_start else at_input
        return Plan(self.threat, steepest(self.threat.norm, size, self.threat.bounds), self.steps, start, self.score)

    search = search
    __call__ = craft


@typed
@dataclass(frozen=True)
class MIFGSM:
    """Momentum iterative method: steps along a decaying sum of normalised gradients, which transfers better.

    Args:
        threat: norm, eps and bounds.
        steps: number of steps.
        step_size: length of each; None: eps / steps.
        decay: of the sum; 0 gives BIM.
        score: score that is maximised.

    Source: Dong et al., Boosting Adversarial Attacks with Momentum, CVPR 2018, algorithm 1.
    """

    threat: ThreatModel
    steps: int = 10
    step_size: float | None = None
    decay: float = 1.0
    score: Score = cross_entropy

    @property
    def label(self) -> str:
        """Short name in reports."""
        return usual_label(self, "MI-FGSM")

    def plan(self) -> Plan:
        """Steps along the momentum, from the input."""
        size = _length(self.threat, self.step_size, 1 / _checked(self.steps, self.step_size))
        step = momentum(self.threat.norm, size, self.decay, self.threat.bounds)
        return Plan(self.threat, step, self.steps, at_input, self.score)

    search = search
    __call__ = craft


@typed
@dataclass(frozen=True)
class OptimizerPGD:
    """PGD whose moves are those of an optimizer instead of steps of equal length.

    Args:
        threat: norm, eps and bounds.
        optimizer: ``SGD``, ``Adam``, ``RMSprop``, ``Adagrad`` of this room, or ``TorchOptimizer`` around a class of
            ``torch.optim``; None: Adam with a learning rate of eps / 10.
        steps: number of steps.
        random_start: start uniformly in the ball, else at the input.
        score: score that is maximised.
    """

    threat: ThreatModel
    optimizer: Optimizer | None = None
    steps: int = 10
    random_start: bool = field(default=True, kw_only=True)
    score: Score = cross_entropy

    def plan(self) -> Plan:
        """Moves of the optimizer."""
        start = uniform if self.random_start else at_input
        return Plan(self.threat, self._rule(), _checked(self.steps), start, self.score)

    def _rule(self) -> Step[Any]:
        if self.optimizer is not None:
            return self.optimizer.rule()
        return adam(_length(self.threat, None, 0.1))

    search = search
    __call__ = craft


@typed
@dataclass(frozen=True)
class RandomNoise:
    """One uniform draw from the ball, as a baseline without search; wrap it in ``Restarts`` for more.

    Args:
        threat: norm, eps and bounds.
    """

    gradient_free: ClassVar[bool] = True
    random_start: ClassVar[bool] = True
    threat: ThreatModel

    def plan(self) -> Plan:
        """A random start and no step."""
        return Plan(self.threat, steepest(self.threat.norm, 0.0), 0, uniform, cross_entropy)

    search = search
    __call__ = craft


def _pgd(threat: ThreatModel, steps: int = 40, step_size: float | None = None) -> PGD:
    return PGD(threat, steps, step_size)


def _bim(threat: ThreatModel, steps: int = 40, step_size: float | None = None) -> BIM:
    return BIM(threat, steps, step_size)


def _momentum(threat: ThreatModel, steps: int = 40, step_size: float | None = None, decay: float = 1.0) -> MIFGSM:
    return MIFGSM(threat, steps, step_size, decay)


def _from_random(threat: ThreatModel, step_size: float | None = None) -> FGSM:
    return FGSM(threat, step_size, random_start=True)


def _from_input(threat: ThreatModel, step_size: float | None = None) -> FGSM:
    return FGSM(threat, step_size)


ATTACKS.register("fgsm", AttackSpec(_from_input, "one step of the whole budget", targeted=True))
ATTACKS.register("fgsm-rs", AttackSpec(_from_random, "one step from a random start", targeted=True))
ATTACKS.register("bim", AttackSpec(_bim, "small steps from the input", targeted=True))
ATTACKS.register("pgd", AttackSpec(_pgd, "steps of equal length from a random start", targeted=True))
ATTACKS.register("mi-fgsm", AttackSpec(_momentum, "steps along a decaying sum of gradients", targeted=True))
ATTACKS.register("noise", AttackSpec(RandomNoise, "one random point of the budget, to compare with"))
