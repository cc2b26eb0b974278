"""Training on single-step attacks: Fast, GradAlign, and an alarm for catastrophic overfitting."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM, PGD
from robustlab.core import Attack, Batch, Images, Metrics, Recipe, RecipeState, Streams, ThreatModel, frozen
from robustlab.core.gradients import dense
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.training.crafting import Backward, BnMode, Crafting, both_phases, in_eval_mode, no_memory
from robustlab.training.recipes import options as o
from robustlab.training.recipes.cross_entropy import adversarial, one_eps, passed
from robustlab.training.recipes.options import passed_to
from robustlab.training.recipes.registry import register_recipe
from robustlab.training.recipes.trades import check_weight
from robustlab.training.training_twin import training_twin

_LOG = logging.getLogger(__name__)
_LONGER = o.OfEps(1.25, "1.25 eps")
_ETA = 0x97AD  # names the draws of GradAlign's second point
_X, _Y, _IDS, _BEST, _FIRED, _STEP = (f"alarm/{name}" for name in ("x", "y", "ids", "best", "fired", "step"))


@register_recipe("fast", "FGSM from a random start (Wong et al.), with an alarm")
@dataclass(frozen=True)
class FastOptions:
    """Options of ``fast``."""

    threat: o.Ball
    step_size: Annotated[float | None, _LONGER.option] = None
    bn_mode: o.BnMode = "train"
    eps_warmup: o.EpsWarmup = 0.0

    def recipe(self) -> Recipe:
        """As ``fast`` makes it."""
        return passed_to(fast, self)


@register_recipe("grad-align", "FGSM with gradients that agree")
@dataclass(frozen=True)
class GradAlignOptions:
    """Options of ``grad_align``."""

    threat: o.Ball
    weight: o.Weight = 0.2
    step_size: Annotated[float | None, o.WHOLE.option] = None
    bn_mode: o.BnMode = "train"
    eps_warmup: o.EpsWarmup = 0.0

    def recipe(self) -> Recipe:
        """As ``grad_align`` makes it."""
        return passed_to(grad_align, self)


@typed
def fast(
    threat: ThreatModel,
    *,
    step_size: float | None = FastOptions.step_size,
    mix: float = 1.0,
    bn_mode: BnMode = FastOptions.bn_mode,
    eps_warmup: float = FastOptions.eps_warmup,
) -> OverfittingAlarm:
    """Fast adversarial training: FGSM from a random point of the ball, watched for catastrophic overfitting.

        loss = mean CE(model(project(x + u + step_size * sign(grad))), y),   u uniform in the ball

    Args:
        threat: norm, eps and bounds.
        step_size: None: 1.25 * eps.
        mix: fraction of the loss on adversarial inputs, in [0, 1]; the rest is on clean ones.
        bn_mode: "train", as in the released code; "eval" is faster.
        eps_warmup: fraction of the training over which eps rises linearly from 0.

    Returns: the recipe inside an ``OverfittingAlarm``; its field ``recipe`` is the one without the alarm.

    Source: Wong, Rice, Kolter, Fast is Better than Free, ICLR 2020, algorithm 3. Its schedule is ``OneCycle``, up to a
    learning rate of 0.2, with a weight decay of 5e-4.
    """
    attack = FGSM(threat, _LONGER.size(step_size, one_eps(threat)), random_start=True)
    return overfitting_alarm(adversarial(attack, mix=mix, bn_mode=bn_mode, eps_warmup=eps_warmup), threat)


@typed
def grad_align(
    threat: ThreatModel,
    *,
    weight: float = GradAlignOptions.weight,
    step_size: float | None = GradAlignOptions.step_size,
    random_start: bool = False,
    bn_mode: BnMode = GradAlignOptions.bn_mode,
    eps_warmup: float = GradAlignOptions.eps_warmup,
) -> GradAlign:
    """FGSM training with gradients that agree across the ball, against catastrophic overfitting.

        loss = mean CE(model(x_adv), y) + weight * (1 - mean cos(g(x), g(x + u))),   g(x) = grad_x CE(model(x), y)

    with u uniform in the ball.

    Args:
        threat: norm, eps and bounds.
        weight: lambda in the paper: 0.2 for eps 8/255 on CIFAR-10, more for larger eps.
        step_size: of FGSM; None: eps.
        random_start: FGSM starts at a random point of the ball; the paper starts at the input.
        bn_mode: "train", as in the released code; "eval" is faster.
        eps_warmup: fraction of the training over which eps rises linearly from 0.

    Source: Andriushchenko, Flammarion, Understanding and Improving Fast Adversarial Training, NeurIPS 2020, equations 4
    and 5. The gradient goes through both g, as in the paper; examples with a gradient of 0 are left out of the mean, as
    in the released code. The passes for g do not change the running statistics of BatchNorm; those of the released code
    do.
    """
    attack = FGSM(threat, step_size, random_start=random_start)
    return GradAlign(Crafting(attack, bn_mode, eps_warmup), threat, weight)


@typed
@dataclass(frozen=True)
class GradAlign:
    """The recipe that ``grad_align`` makes.

    Raises: ValueError for a negative weight.
    """

    crafting: Crafting
    threat: ThreatModel
    weight: float = 0.2
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_weight("weight", self.weight)

    init = no_memory
    step = both_phases

    def craft(self, model: nn.Module, batch: Batch) -> Images:
        """The adversarial inputs (N, ...)."""
        return self.crafting(model, batch)

    def learn(self, model: nn.Module, batch: Batch, x_adv: Images, backward: Backward) -> Metrics:
        """A pass over the adversarial inputs, and two whose input gradients are compared."""
        nearby = self.threat.sample(batch.x, Streams(batch.seed, batch.ids).fork(_ETA))
        with frozen(model):
            alignment = mean_cosine(*(_input_gradient(model, x, batch) for x in (batch.x, nearby)))
        logits, loss = passed(model, x_adv, batch.y)
        loss = loss + self.weight * (1 - alignment)
        backward(loss)
        return measured(logits, loss, batch.y, alignment=alignment)


def _input_gradient(model: nn.Module, x: Images, batch: Batch) -> Tensor:
    """The gradient of each example's cross-entropy by its input (N, D), which can be differentiated itself."""
    leaf = x.detach().requires_grad_()
    _, loss = passed(model, leaf, batch.y)
    whole = loss * len(x)  # of the sum: a mean could underflow
    (gradient,) = torch.autograd.grad(whole, leaf, create_graph=True, allow_unused=True, materialize_grads=True)
    return dense(gradient).flatten(1)


def mean_cosine(a: Tensor, b: Tensor) -> Tensor:
    """The mean cosine of the angles between rows (N, D), over those where neither is 0; 1 if there is none."""
    lengths = a.norm(dim=1), b.norm(dim=1)
    apart = (lengths[0] > 0) & (lengths[1] > 0)
    if not bool(apart.any()):
        return a.new_ones(())
    a, b = a[apart], b[apart]
    cosines: Tensor = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
    return cosines.mean()


@typed
def overfitting_alarm(
    recipe: Recipe, threat: ThreatModel, *, every: int = 100, examples: int = 64, drop: float = 0.2
) -> OverfittingAlarm:
    """Another recipe, watched for catastrophic overfitting.

    The first ``examples`` examples of the first batch are the probe for the whole run. At the first step and at each
    ``every``-th after it the model, in eval mode, is attacked on the probe by FGSM and PGD-10, and the history gets

    - ``probe_fgsm_accuracy`` and ``probe_pgd_accuracy``: fractions of the probe that stay right;
    - ``catastrophic_overfitting``: 1 if PGD accuracy is more than ``drop`` below its best so far while FGSM accuracy is
      more than ``drop`` above PGD accuracy, else 0; over an epoch, the fraction of the checks with a 1.

    The first such check logs a warning. A model that learns badly loses accuracy under both attacks and raises no
    alarm; one that overfits to single steps keeps or gains accuracy under FGSM alone.

    Args:
        recipe: any recipe, such as ``fast`` or plain FGSM training.
        threat: of the two attacks: norm, eps and bounds.
        every: steps from check to check; with 100 it costs about 3 % of the passes of FGSM training at batch 128.
        examples: size of the probe, at most a batch.
        drop: fraction of the probe.

    Source: catastrophic overfitting: Wong, Rice, Kolter, Fast is Better than Free, ICLR 2020, section 5.4, whose
    released code stops when PGD-5 accuracy on a batch of training data falls by 0.2 from one epoch to the next.
    """
    return OverfittingAlarm(recipe, FGSM(threat), PGD(threat, 10), every, examples, drop)


@typed
@dataclass(frozen=True)
class OverfittingAlarm:
    """The recipe that ``overfitting_alarm`` makes.

    Raises: ValueError for counts below 1, or a drop outside (0, 1).
    """

    recipe: Recipe
    weak: Attack
    strong: Attack
    every: int = 100
    examples: int = 64
    drop: float = 0.2

    def __post_init__(self) -> None:
        if self.every < 1 or self.examples < 1:
            raise ValueError(f"every and examples must be at least 1, got {self.every} and {self.examples}")
        if not 0.0 < self.drop < 1.0:
            raise ValueError(f"drop is a fraction of the probe, in (0, 1), got {self.drop}")

    @property
    def replays(self) -> int:
        """As of the wrapped recipe."""
        return self.recipe.replays

    def init(self, model: nn.Module) -> RecipeState:
        """State of the wrapped recipe and of the probe: examples, best accuracy, and if the alarm was raised."""
        whole = {_STEP: torch.zeros((), dtype=torch.int64), _FIRED: torch.zeros((), dtype=torch.bool)}
        probe = {_X: torch.zeros(0), _Y: torch.zeros(0, dtype=torch.int64), _IDS: torch.zeros(0, dtype=torch.int64)}
        return {**self.recipe.init(model), **whole, **probe, _BEST: torch.zeros((), dtype=torch.float64)}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """Measures the probe if it is due, then does the step of the wrapped recipe."""
        step = int(state[_STEP])
        if step == 0:
            for name, values in ((_X, batch.x), (_Y, batch.y), (_IDS, batch.ids)):
                # In one memory layout, before and after a checkpoint.
                state[name] = values[: self.examples].clone(memory_format=torch.contiguous_format)
        found = self.probed(model, batch, state) if step % self.every == 0 else {}
        state[_STEP] = state[_STEP] + 1
        return {**self.recipe.step(model, batch, state, backward), **found}

    def probed(self, model: nn.Module, batch: Batch, state: RecipeState) -> Metrics:
        """Accuracy on the probe under both attacks, and the alarm."""
        probe = Batch(state[_X].to(batch.x), state[_Y].to(batch.y), state[_IDS].to(batch.ids), batch.seed)
        weak, strong = (_accuracy(model, probe, attack) for attack in (self.weak, self.strong))
        best = max(float(state[_BEST]), strong)
        state[_BEST] = torch.tensor(best, dtype=torch.float64)
        alarming = best - strong > self.drop and weak - strong > self.drop
        if alarming and not bool(state[_FIRED]):
            state[_FIRED] = torch.ones((), dtype=torch.bool)
            _LOG.warning(
                "catastrophic overfitting after %.0f %% of the training: PGD accuracy on %d training examples dropped "
                "from %.0f %% to %.0f %%, while FGSM accuracy is %.0f %%: this model is robust to single steps alone",
                *(100 * batch.progress, len(probe.x), 100 * best, 100 * strong, 100 * weak),
            )
        return {
            "probe_fgsm_accuracy": weak,
            "probe_pgd_accuracy": strong,
            "catastrophic_overfitting": float(alarming),
        }


def _accuracy(model: nn.Module, probe: Batch, attack: Attack) -> float:
    """Fraction of the probe that stays right under an attack, in eval mode."""
    with in_eval_mode(model), torch.no_grad():
        x_adv = attack(training_twin(model, probe.x), probe.x, probe.y, seed=probe.seed, ids=probe.ids)
        right: Tensor = model(x_adv).argmax(dim=1) == probe.y
        return float(right.double().mean())
