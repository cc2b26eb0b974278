"""Recipes whose loss is a cross-entropy: on clean inputs, on adversarial inputs, on both, on noisy ones.

Recipes are values; anything that changes is in their state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks import FGSM, PGD
from robustlab.core import Attack, Batch, Images, Labels, Logits, Metrics, Recipe, ThreatModel
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.training.crafting import Backward, BnMode, Craft, Crafting, GaussianNoise, both_phases, no_memory
from robustlab.training.recipes import options as o
from robustlab.training.recipes.options import Option, passed_to
from robustlab.training.recipes.registry import register_recipe


@register_recipe("standard", "on clean inputs")
@dataclass(frozen=True)
class StandardOptions:
    """Options of ``standard``."""

    smoothing: o.Smoothing = 0.0

    def recipe(self) -> Recipe:
        """As ``standard`` makes it."""
        return standard(smoothing=self.smoothing)


@register_recipe("adversarial", "on inputs made by any --attack")
@dataclass(frozen=True)
class AdversarialOptions:
    """Options of ``adversarial``, and of the attack in it."""

    threat: o.Ball
    attack: Annotated[o.NamedAttack, Option("Such as fgsm, fgsm-rs, bim, pgd or mi-fgsm.", usual="fgsm-rs")]
    steps: Annotated[int | None, o.STEPS] = None
    step_size: o.StepSize = None
    mix: o.Mix = 1.0
    bn_mode: o.BnMode = "eval"
    eps_warmup: o.EpsWarmup = 0.0
    steps_warmup: o.StepsWarmup = 0.0
    smoothing: o.Smoothing = 0.0

    def recipe(self) -> Recipe:
        """As ``adversarial`` makes it.

        Raises: ValueError for steps, or a step size, that the attack does not have.
        """
        without = ("threat", "attack", "steps", "step_size")
        return passed_to(partial(adversarial, self.built()), self, without=without)

    def built(self) -> Attack:
        """The attack: its steps and step size are those that were given, if it has any."""
        name, build = self.attack
        made = build(name, self.threat, self.steps or PgdOptions.steps)
        if self.steps is not None and made == build(name, self.threat, self.steps + 1):
            raise ValueError(f"steps cannot be set for {name}, which has none: leave it out, or take pgd")
        if self.step_size is None:
            return made
        if not hasattr(made, "step_size"):
            raise ValueError(f"step_size cannot be set for {name}, which has none: leave it out, or take pgd")
        return replace(made, step_size=self.step_size)  # type: ignore[type-var]  # attacks are dataclasses


@register_recipe("pgd", "PGD training (Madry et al.)")
@dataclass(frozen=True)
class PgdOptions:
    """Options of ``madry``."""

    threat: o.Ball
    steps: o.Steps = 7
    step_size: Annotated[float | None, o.QUARTER.option] = None
    mix: o.Mix = 1.0
    bn_mode: o.BnMode = "train"
    eps_warmup: o.EpsWarmup = 0.0
    steps_warmup: o.StepsWarmup = 0.0
    smoothing: o.Smoothing = 0.0

    def recipe(self) -> Adversarial:
        """As ``madry`` makes it, with label smoothing."""
        return replace(passed_to(madry, self, without=("smoothing",)), smoothing=self.smoothing)


@register_recipe("fgsm", "half FGSM, half clean (Goodfellow et al.)")
@dataclass(frozen=True)
class FgsmOptions:
    """Options of Goodfellow's training: no random start, half of the loss on clean inputs."""

    threat: o.Ball
    step_size: Annotated[float | None, o.WHOLE.option] = None
    mix: o.Mix = 0.5
    bn_mode: o.BnMode = "eval"
    eps_warmup: o.EpsWarmup = 0.0
    smoothing: o.Smoothing = 0.0

    def recipe(self) -> Recipe:
        """As ``adversarial`` makes it."""
        attack = FGSM(self.threat, self.step_size)
        return passed_to(partial(adversarial, attack), self, without=("threat", "step_size"))


@register_recipe("gaussian-noise", "on noisy inputs")
@dataclass(frozen=True)
class GaussianNoiseOptions:
    """Options of ``gaussian_noise``; sigma is the smaller one of Cohen et al. on ImageNet."""

    sigma: Annotated[float, Option("Standard deviation of the noise.")] = 0.25
    mix: o.Mix = 1.0
    smoothing: o.Smoothing = 0.0

    def recipe(self) -> Recipe:
        """As ``gaussian_noise`` makes it."""
        return passed_to(gaussian_noise, self)


@typed
def standard(*, smoothing: float = StandardOptions.smoothing) -> Standard:
    """Training on clean inputs: the mean cross-entropy of each batch.

    Args:
        smoothing: fraction of each label, in [0, 1), that is spread evenly over all classes.

    Source of label smoothing: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7.
    """
    return Standard(smoothing)


@typed
def adversarial(
    attack: Attack,
    *,
    mix: float = AdversarialOptions.mix,
    bn_mode: BnMode = AdversarialOptions.bn_mode,
    eps_warmup: float = AdversarialOptions.eps_warmup,
    steps_warmup: float = AdversarialOptions.steps_warmup,
    smoothing: float = AdversarialOptions.smoothing,
) -> Adversarial:
    """Training on adversarial inputs of any attack.

        loss = (1 - mix) * mean CE(model(x), y) + mix * mean CE(model(x_adv), y)

    Args:
        attack: makes x_adv, at full strength; its draws follow the step and the ids of the examples.
        mix: fraction of the loss on adversarial inputs, in [0, 1]: 1 is Madry's, 0.5 Goodfellow's half and half.
        bn_mode: mode of the model while x_adv is made. "eval": normalisation layers use their running statistics and
            dropout is off, as in TRADES and most later work, which is also faster. "train": batch statistics, as in
            Madry's loop, but without a change of the running ones.
        eps_warmup: fraction of the training over which eps rises linearly from 0.
        steps_warmup: fraction of the training over which the steps of the attack rise from 1 to all.
        smoothing: fraction of each label, spread evenly over all classes.

    Source: Goodfellow et al., ICLR 2015, section 6; Madry et al., ICLR 2018, equation 2.1.
    """
    return Adversarial(Crafting(attack, bn_mode, eps_warmup, steps_warmup), mix, smoothing)


@typed
def madry(
    threat: ThreatModel,
    *,
    steps: int = PgdOptions.steps,
    step_size: float | None = PgdOptions.step_size,
    mix: float = PgdOptions.mix,
    bn_mode: BnMode = PgdOptions.bn_mode,
    eps_warmup: float = PgdOptions.eps_warmup,
    steps_warmup: float = PgdOptions.steps_warmup,
) -> Adversarial:
    """PGD training: each batch is replaced by its adversarial inputs from PGD.

        min_w E max_{|delta| <= eps} CE(model(x + delta), y)

    Args:
        threat: norm, eps and bounds.
        steps: of PGD, from a random point of the ball.
        step_size: of each; None: eps / 4, which is 2 where eps is 8 of 255.
        mix: fraction of the loss on adversarial inputs, in [0, 1]; the rest is on clean ones.
        bn_mode: "train", as in the released code; "eval" is faster.
        eps_warmup: fraction of the training over which eps rises linearly from 0.
        steps_warmup: fraction of the training over which the steps rise from 1 to all.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, section 2; 7 steps
    of 2/255 at 8/255 on CIFAR-10. The released code lets
    the attack's passes move the running statistics of BatchNorm; ours do not.
    """
    attack = PGD(threat, steps, o.QUARTER.size(step_size, one_eps(threat)))
    return adversarial(attack, mix=mix, bn_mode=bn_mode, eps_warmup=eps_warmup, steps_warmup=steps_warmup)


@typed
def gaussian_noise(
    sigma: float, *, mix: float = GaussianNoiseOptions.mix, smoothing: float = GaussianNoiseOptions.smoothing
) -> Adversarial:
    """Training on noisy inputs, which are not cut to the bounds of images.

        loss = (1 - mix) * mean CE(model(x), y) + mix * mean CE(model(x + sigma * N(0, I)), y)

    Args:
        sigma: standard deviation of the noise >= 0, in input units.
        mix: fraction of the loss on noisy inputs, in [0, 1].
        smoothing: fraction of each label, spread evenly over all classes.

    Source: Cohen, Rosenfeld, Kolter, Certified Adversarial Robustness via Randomized Smoothing, ICML 2019, section
    3.3, with mix 1.
    """
    return Adversarial(GaussianNoise(sigma), mix, smoothing)


@typed
@dataclass(frozen=True)
class Standard:
    """The recipe that ``standard`` makes.

    Raises: ValueError for a smoothing outside [0, 1).
    """

    smoothing: float = 0.0
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_smoothing(self.smoothing)

    init = no_memory
    step = both_phases

    def craft(self, model: nn.Module, batch: Batch) -> Images:
        """The unchanged inputs."""
        del model
        return batch.x

    def learn(self, model: nn.Module, batch: Batch, x_adv: Images, backward: Backward) -> Metrics:
        """One pass over the inputs."""
        logits, loss = passed(model, x_adv, batch.y, self.smoothing)
        backward(loss)
        return measured(logits, loss, batch.y)


@typed
@dataclass(frozen=True)
class Adversarial:
    """The recipe that ``adversarial`` makes, with any function that makes the inputs.

    Raises: ValueError for a mix outside [0, 1], or a smoothing outside [0, 1).
    """

    crafting: Craft
    mix: float = 1.0
    smoothing: float = 0.0
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.mix <= 1.0:
            raise ValueError(f"mix is the fraction of the loss on adversarial inputs, in [0, 1], got {self.mix}")
        check_smoothing(self.smoothing)

    init = no_memory
    step = both_phases

    def craft(self, model: nn.Module, batch: Batch) -> Images:
        """The adversarial inputs of a batch (N, ...), or the clean ones if no other enter the loss."""
        return self.crafting(model, batch) if self.mix else batch.x

    def learn(self, model: nn.Module, batch: Batch, x_adv: Images, backward: Backward) -> Metrics:
        """One pass over each kind of input that enters the loss."""
        if self.mix in (0.0, 1.0):
            return Standard(self.smoothing).learn(model, batch, x_adv, backward)
        parts = {}
        for name, x, fraction in (("clean", batch.x, 1 - self.mix), ("adversarial", x_adv, self.mix)):
            logits, loss = passed(model, x, batch.y, self.smoothing)
            backward(fraction * loss)
            parts[name] = measured(logits, loss, batch.y)
        clean, hard = parts["clean"], parts["adversarial"]
        mixed = {name: (1 - self.mix) * clean[name] + self.mix * hard[name] for name in clean}
        return {**mixed, "clean_accuracy": clean["accuracy"], "adversarial_accuracy": hard["accuracy"]}


def one_eps(threat: ThreatModel) -> float:
    """The eps of a threat model that has one for all examples.

    Raises: ValueError if it has one per example.
    """
    if not isinstance(threat.eps, float):
        raise ValueError("training needs one eps for all examples")
    return threat.eps


def passed(model: nn.Module, x: Images, y: Labels, smoothing: float = 0.0) -> tuple[Logits, Tensor]:
    """Logits (N, K) and their mean cross-entropy."""
    logits: Logits = model(x)
    return logits, F.cross_entropy(logits, y, label_smoothing=smoothing)


def check_smoothing(smoothing: float) -> None:
    """Checks that a label smoothing is in [0, 1)."""
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(
            f"smoothing is the fraction of a label that is spread over all classes, in [0, 1), got {smoothing}"
        )
