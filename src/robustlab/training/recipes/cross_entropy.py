"""Recipes whose loss is a cross-entropy: on the data as they are, on adversarial inputs, on both, on noisy ones.

Recipes are values; what they remember is in their state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks import PGD
from robustlab.core import Attack, Batch, Images, Labels, Logits, Metrics, ThreatModel
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.training.crafting import Backward, Craft, Crafting, GaussianNoise, NormMode, both_phases, no_memory


@typed
def standard(*, smoothing: float = 0.0) -> Standard:
    """Training on the data as they are: the mean cross-entropy of each batch.

    Args:
        smoothing: share of each label, in [0, 1), that is spread evenly over all classes.

    Source of label smoothing: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7.
    """
    return Standard(smoothing)


@typed
def adversarial(
    attack: Attack,
    *,
    mix: float = 1.0,
    norm_mode: NormMode = "eval",
    eps_warmup: float = 0.0,
    steps_warmup: float = 0.0,
    smoothing: float = 0.0,
) -> Adversarial:
    """Training on what an attack makes of the data.

        loss = (1 - mix) * mean CE(model(x), y) + mix * mean CE(model(x_adv), y)

    Args:
        attack: makes x_adv, at full strength; its draws follow the step and the ids of the examples.
        mix: share of the loss that is on adversarial inputs, in [0, 1]: 1 is Madry's, 0.5 Goodfellow's half and half.
        norm_mode: what the model is while x_adv is made. "eval": norm layers use their running statistics and nothing
            is dropped out, as TRADES and most later work do, which is also the faster. "train": batch statistics, as
            in Madry's loop, but without a change of the running ones.
        eps_warmup: share of the training over which eps rises linearly from 0.
        steps_warmup: share of the training over which the steps of the attack rise from 1 to all.
        smoothing: share of each label that is spread evenly over all classes.

    Source: Goodfellow et al., ICLR 2015, section 6; Madry et al., ICLR 2018, equation 2.1.
    """
    return Adversarial(Crafting(attack, norm_mode, eps_warmup, steps_warmup), mix, smoothing)


@typed
def madry(
    threat: ThreatModel,
    *,
    steps: int = 7,
    step_size: float | None = None,
    mix: float = 1.0,
    norm_mode: NormMode = "train",
    eps_warmup: float = 0.0,
    steps_warmup: float = 0.0,
) -> Adversarial:
    """PGD training: each batch is replaced by what PGD makes of it.

        min_w E max_{|delta| <= eps} CE(model(x + delta), y)

    Args:
        threat: norm, eps and bounds.
        steps: of PGD, from a random point of the ball.
        step_size: of each; None: eps / 4, which is 2 where eps is 8 of 255.
        mix: share of the loss that is on adversarial inputs, in [0, 1]; the rest is on clean ones.
        norm_mode: "train", as in the released code; "eval" is the faster.
        eps_warmup: share of the training over which eps rises linearly from 0.
        steps_warmup: share of the training over which the steps rise from 1 to all.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, section 2; 7 steps
    of 2/255 at 8/255 on CIFAR-10. The released code lets
    the attack's passes move the running statistics of norm layers; ours do not.
    """
    size = one_eps(threat) / 4 if step_size is None else step_size
    attack = PGD(threat, steps, size)
    return adversarial(attack, mix=mix, norm_mode=norm_mode, eps_warmup=eps_warmup, steps_warmup=steps_warmup)


@typed
def gaussian_noise(sigma: float, *, mix: float = 1.0) -> Adversarial:
    """Training on noisy inputs, which are not cut to the bounds of images.

        loss = (1 - mix) * mean CE(model(x), y) + mix * mean CE(model(x + sigma * N(0, I)), y)

    Args:
        sigma: standard deviation of the noise >= 0, in input units.
        mix: share of the loss that is on noisy inputs, in [0, 1].

    Source: Cohen, Rosenfeld, Kolter, Certified Adversarial Robustness via Randomized Smoothing, ICML 2019, section
    3.3, with mix 1.
    """
    return Adversarial(GaussianNoise(sigma), mix)


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
        """The inputs as they are."""
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
    """The recipe that ``adversarial`` makes, with any way to make the inputs.

    Raises: ValueError for a mix outside [0, 1], or a smoothing outside [0, 1).
    """

    crafting: Craft
    mix: float = 1.0
    smoothing: float = 0.0
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.mix <= 1.0:
            raise ValueError(f"mix is the share of the loss on adversarial inputs, in [0, 1], got {self.mix}")
        check_smoothing(self.smoothing)

    init = no_memory
    step = both_phases

    def craft(self, model: nn.Module, batch: Batch) -> Images:
        """The adversarial inputs of a batch (N, ...), or the clean ones if no other have a share in the loss."""
        return self.crafting(model, batch) if self.mix else batch.x

    def learn(self, model: nn.Module, batch: Batch, x_adv: Images, backward: Backward) -> Metrics:
        """One pass over each kind of input that has a share in the loss."""
        if self.mix in (0.0, 1.0):
            return Standard(self.smoothing).learn(model, batch, x_adv, backward)
        parts = {}
        for name, x, share in (("clean", batch.x, 1 - self.mix), ("adversarial", x_adv, self.mix)):
            logits, loss = passed(model, x, batch.y, self.smoothing)
            backward(share * loss)
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
    """Refuses a share of a label that is none."""
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(f"smoothing is the share of a label that is spread over all classes, in [0, 1): {smoothing}")
