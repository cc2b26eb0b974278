"""Recipes that weigh the prediction on adversarial inputs against that on clean ones: TRADES and MART."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks import maximise, steepest
from robustlab.attacks.call import Call, craft
from robustlab.core import Batch, Images, Logits, Metrics, Objective, Recipe, ThreatModel, cross_entropy, kl, unfinished
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.training.crafting import Backward, BnMode, Craft, Crafting, both_phases, no_memory
from robustlab.training.recipes import options as o
from robustlab.training.recipes.cross_entropy import one_eps
from robustlab.training.recipes.options import passed_to
from robustlab.training.recipes.registry import register_recipe

Against: TypeAlias = Literal["prediction", "label"]
STEP = o.OfEps(0.007 / 0.031, "7/31 of eps")
"""Step size of both papers."""
_SURE = 1.0001  # MART's released code: keeps log(1 - p) finite where a wrong class has all the probability


@register_recipe("trades", "accuracy traded for robustness by --beta")
@dataclass(frozen=True)
class TradesOptions:
    """Options of ``trades``."""

    threat: o.Ball
    beta: o.Beta = 6.0
    steps: o.Steps = 10
    step_size: Annotated[float | None, STEP.option] = None
    bn_mode: o.BnMode = "eval"
    eps_warmup: o.EpsWarmup = 0.0
    steps_warmup: o.StepsWarmup = 0.0

    def recipe(self) -> TRADES:
        """As ``trades`` makes it."""
        return passed_to(trades, self)


@register_recipe("mart", "more weight where the clean image is misclassified")
@dataclass(frozen=True)
class MartOptions:
    """Options of ``mart``."""

    threat: o.Ball
    beta: o.Beta = 6.0
    steps: o.Steps = 10
    step_size: Annotated[float | None, STEP.option] = None
    bn_mode: o.BnMode = "eval"
    eps_warmup: o.EpsWarmup = 0.0
    steps_warmup: o.StepsWarmup = 0.0

    def recipe(self) -> Recipe:
        """As ``mart`` makes it."""
        return passed_to(mart, self)


@typed
def trades(
    threat: ThreatModel,
    *,
    beta: float = TradesOptions.beta,
    steps: int = TradesOptions.steps,
    step_size: float | None = TradesOptions.step_size,
    bn_mode: BnMode = TradesOptions.bn_mode,
    eps_warmup: float = TradesOptions.eps_warmup,
    steps_warmup: float = TradesOptions.steps_warmup,
) -> TRADES:
    """TRADES: cross-entropy on clean inputs, and equal predictions in the ball around them.

        loss = mean CE(model(x), y) + beta * mean KL(model(x) || model(x_adv))

    Args:
        threat: norm, eps and bounds.
        beta: weight of the second term, >= 0; larger is more robust and less accurate.
        steps: of PGD on that divergence.
        step_size: of each; None: 7/31 of eps, the paper's 0.007 at 0.031.
        bn_mode: "eval", as in the released code.
        eps_warmup: fraction of the training over which eps rises linearly from 0.
        steps_warmup: fraction of the training over which the steps rise from 1 to all.

    Source: Zhang et al., Theoretically Principled Trade-off between Robustness and Accuracy, ICML 2019, equation 5 and
    algorithm 1, where 1 / lambda is beta. As in the released code, whose function has a beta of 1 and steps of 0.003 as
    defaults, the gradient also goes through the clean prediction. It passes the clean batch twice, ours once: the same
    gradient, but BatchNorm averages over it once.
    """
    attack = NearPGD(threat, steps, step_size, against="prediction")
    return TRADES(Crafting(attack, bn_mode, eps_warmup, steps_warmup), beta)


@typed
def mart(
    threat: ThreatModel,
    *,
    beta: float = MartOptions.beta,
    steps: int = MartOptions.steps,
    step_size: float | None = MartOptions.step_size,
    bn_mode: BnMode = MartOptions.bn_mode,
    eps_warmup: float = MartOptions.eps_warmup,
    steps_warmup: float = MartOptions.steps_warmup,
) -> MART:
    """MART: a boosted cross-entropy, and a divergence that counts most where the clean input is misclassified.

        loss = mean BCE(p_adv, y) + beta * mean KL(p || p_adv) (1 - p_y)
        BCE(p, y) = -log p_y - log(1 - max_{k != y} p_k),   p = softmax(model(x)),  p_adv = softmax(model(x_adv))

    Args:
        threat: norm, eps and bounds.
        beta: weight of the second term, >= 0: 6 for wide networks, 5 for ResNet-18 in the released code.
        steps: of PGD on the cross-entropy.
        step_size: of each; None: 7/31 of eps, the paper's 0.007 at 0.031.
        bn_mode: "eval", as in the released code.
        eps_warmup: fraction of the training over which eps rises linearly from 0.
        steps_warmup: fraction of the training over which the steps rise from 1 to all.

    Source: Wang et al., Improving Adversarial Robustness Requires Revisiting Misclassified Examples, ICLR 2020,
    equation 11. As in the released code, 1 - p is 1.0001 - p inside the logarithm.
    """
    attack = NearPGD(threat, steps, step_size, against="label")
    return MART(Crafting(attack, bn_mode, eps_warmup, steps_warmup), beta)


@typed
@dataclass(frozen=True)
class NearPGD:
    """PGD from a point very close to the input: the attack of TRADES and MART.

    Args:
        threat: norm, eps and bounds.
        steps: number of steps.
        step_size: length of each; None: 7/31 of eps.
        against: the score that is maximised. "prediction": the divergence from the prediction on the input, without the
            label and without success; "label": the cross-entropy.
        spread: standard deviation of the start around the input, as a fraction of the range of the inputs; at the input
            itself the divergence has no gradient.
    """

    threat: ThreatModel
    steps: int = 10
    step_size: float | None = None
    against: Against = "prediction"
    spread: float = 0.001

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        size = STEP.size(self.step_size, one_eps(self.threat))
        x = call.x.to(torch.promote_types(call.x.dtype, torch.float32))
        start = x + self.spread * self.threat.width * call.streams.normal(x.shape[1:], dtype=x.dtype)
        region, step = self.threat.search_region(call.x), steepest(self.threat.norm, size, self.threat.bounds)
        return maximise(self._objective(call), region, start, step, steps=self.steps, stop=call.stop)

    def _objective(self, call: Call) -> Objective:
        if self.against == "label":
            return call.objective(cross_entropy)
        with torch.no_grad():
            reference = torch.cat([call.twin.searched(part) for part in call.twin.split(call.x)])
        return call.watched(Objective(call.twin, reference, kl, unfinished))

    __call__ = craft


class _Crafts(Protocol):
    """A recipe with inputs crafted by a function."""

    @property
    def crafting(self) -> Craft: ...


def _crafted(self: _Crafts, model: nn.Module, batch: Batch) -> Images:
    """The adversarial inputs (N, ...) of a batch."""
    return self.crafting(model, batch)


@typed
@dataclass(frozen=True)
class TRADES:
    """The recipe that ``trades`` makes.

    Raises: ValueError for a negative beta.
    """

    crafting: Craft
    beta: float = 6.0
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_weight("beta", self.beta)

    init = no_memory
    craft = _crafted
    step = both_phases

    def learn(self, model: nn.Module, batch: Batch, x_adv: Images, backward: Backward) -> Metrics:
        """One pass over each kind of input."""
        clean, hard = model(batch.x), model(x_adv)
        divergence = kl(hard, clean).mean()
        loss = F.cross_entropy(clean, batch.y) + self.beta * divergence
        backward(loss)
        return compared(clean, hard, loss, batch, divergence)


@typed
@dataclass(frozen=True)
class MART:
    """The recipe that ``mart`` makes.

    Raises: ValueError for a negative beta.
    """

    crafting: Craft
    beta: float = 6.0
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_weight("beta", self.beta)

    init = no_memory
    craft = _crafted
    step = both_phases

    def learn(self, model: nn.Module, batch: Batch, x_adv: Images, backward: Backward) -> Metrics:
        """One pass over each kind of input."""
        clean, hard = model(batch.x), model(x_adv)
        unsure = 1 - _probs(clean).gather(1, batch.y[:, None])[:, 0]
        divergence = (kl(hard, clean) * unsure).mean()
        loss = boosted_cross_entropy(hard, batch.y).mean() + self.beta * divergence
        backward(loss)
        return compared(clean, hard, loss, batch, divergence)


def boosted_cross_entropy(logits: Logits, y: Tensor) -> Tensor:
    """The cross-entropy, and as much again for the best wrong class: -log p_y - log(1.0001 - max_{k != y} p_k), (N,).

    Args:
        logits: (N, K), any float dtype; computed in at least float32.
        y: labels (N,), int64.
    """
    own = F.one_hot(y, logits.shape[1]).to(torch.bool)
    rival = _probs(logits).masked_fill(own, 0).amax(dim=1)
    return cross_entropy(logits, y) - torch.log(_SURE - rival)


def _probs(logits: Logits) -> Tensor:
    return F.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)


def compared(clean: Logits, hard: Logits, loss: Tensor, batch: Batch, divergence: Tensor) -> Metrics:
    """Metrics of a step on clean and on adversarial inputs; "accuracy" is that on clean ones."""
    right = [(logits.argmax(dim=1) == batch.y).float().mean() for logits in (clean, hard)]
    more = {"clean_accuracy": right[0], "adversarial_accuracy": right[1], "divergence": divergence}
    return measured(clean, loss, batch.y, **more)


def check_weight(name: str, weight: float) -> None:
    """Checks that a weight of a loss is finite and >= 0."""
    if not 0.0 <= weight < float("inf"):
        raise ValueError(f"{name} is the weight of a loss, a finite number >= 0, got {weight}")
