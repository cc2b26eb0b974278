"""Fast AdvProp: a fraction of each batch becomes adversarial, by a pass that also trains the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Images, Metrics, Recipe, RecipeState, Streams, ThreatModel, fold_in
from robustlab.core.gradients import own_gradient
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.core.routes import MAIN, routed_parts, taking
from robustlab.training.crafting import Backward, no_memory
from robustlab.training.recipes import options as o
from robustlab.training.recipes.advprop import check_routes
from robustlab.training.recipes.cross_entropy import check_smoothing, one_eps, passed
from robustlab.training.recipes.options import Budget, Option, passed_to
from robustlab.training.recipes.registry import register_recipe

_START = 0xFA57  # names the draws of starting points
_LEAST = 2  # examples of which a BatchNorm can take statistics


@register_recipe(
    "fast-advprop", "AdvProp with one step on a fraction of each batch (Mei et al.)", best="clean_accuracy"
)
@dataclass(frozen=True)
class FastAdvPropOptions:
    """Options of ``fast_advprop``."""

    threat: Annotated[ThreatModel, Budget(eps="1/255")]
    fraction: Annotated[float, Option("Fraction of each batch that becomes adversarial.")] = 0.2
    step_size: Annotated[float | None, o.WHOLE.option] = None
    smoothing: o.Smoothing = 0.0

    def recipe(self) -> Recipe:
        """As ``fast_advprop`` makes it."""
        return passed_to(fast_advprop, self)


@typed
def fast_advprop(
    threat: ThreatModel,
    *,
    fraction: float = FastAdvPropOptions.fraction,
    step_size: float | None = FastAdvPropOptions.step_size,
    weights: tuple[float, float, float] = (1.0, 0.5, 0.5),
    smoothing: float = FastAdvPropOptions.smoothing,
) -> FastAdvProp:
    """Fast AdvProp: a fraction of each batch becomes adversarial by one step, whose pass also trains the weights.

        loss = (w_0 sum_clean CE(main(x), y) + sum_rest [w_1 CE(aux(x + u), y) + w_2 CE(aux(x_adv), y)]) / N
        x_adv = project(x + u + step_size * steepest(grad_u)),   u uniform in the ball

    It costs (1 + fraction) plain steps. The model is one that ``robustlab.models.split_bn`` has made.

    Args:
        threat: norm, eps and bounds; the paper's eps is 1/255.
        fraction: of the examples that are perturbed, in (0, 1); they are not passed clean.
        step_size: None: eps.
        weights: of the clean examples, of the starting points and of the adversarial examples.
        smoothing: fraction of each label, in [0, 1), that is spread evenly over all classes.

    Source: Mei, Han, Bai, Zhang, Li, Li, Yuille, Xie, Fast AdvProp, ICLR 2022, section 3, with 4 : 1, weights 1, 1/2,
    1/2 as released: the step is untargeted, its pass is in training mode and moves the auxiliary statistics, and
    BatchNorm weights get the mean gradient of the examples on their own route. The order of the adversarial examples is
    not shuffled before their pass, as released: that changes the statistics only where several devices split a batch.
    """
    return FastAdvProp(threat, fraction, step_size, weights, smoothing)


@typed
@dataclass(frozen=True)
class FastAdvProp:
    """The recipe that ``fast_advprop`` makes.

    Raises: ValueError for a fraction outside (0, 1), a step size that is not positive, weights that are not three
        numbers >= 0, or a smoothing outside [0, 1).
    """

    threat: ThreatModel
    fraction: float = 0.2
    step_size: float | None = None
    weights: tuple[float, float, float] = (1.0, 0.5, 0.5)
    smoothing: float = 0.0
    replays: ClassVar[int] = 1
    routes: ClassVar[int] = 2

    def __post_init__(self) -> None:
        one_eps(self.threat)
        if not 0.0 < self.fraction < 1.0:
            raise ValueError(f"fraction of each batch that becomes adversarial must be in (0, 1), got {self.fraction}")
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"step_size must be > 0 in input units, got {self.step_size}")
        if len(self.weights) != 3 or not all(weight >= 0 for weight in self.weights):
            raise ValueError(f"weights are three numbers >= 0: clean, start, adversarial; got {self.weights}")
        check_smoothing(self.smoothing)

    def init(self, model: nn.Module) -> RecipeState:
        """The empty state.

        Raises: ValueError if the model has too few routes.
        """
        check_routes(model, self.routes)
        return no_memory(self, model)

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """A pass over the clean part, one over the starting points of the rest and one over its adversarial inputs."""
        del state
        clean, rest = divided(batch, self.fraction)
        found = self.learned(model, clean, len(batch.x), 0, backward)
        if not len(rest.x):
            return found
        streams = Streams(fold_in(rest.seed, _START), rest.ids)
        start = self.threat.sample(rest.x, streams).detach().requires_grad_()
        begun = self.learned(model, rest._replace(x=start), len(batch.x), 1, backward)
        ended = self.learned(model, rest._replace(x=self.moved(rest.x, start)), len(batch.x), 2, backward)
        loss = found["loss"] + begun["loss"] + ended["loss"]
        return {**found, "loss": loss, "adversarial_accuracy": ended["accuracy"]}

    def learned(self, model: nn.Module, part: Batch, whole: int, kind: int, backward: Backward) -> Metrics:
        """A pass over a part of a batch of ``whole`` examples: clean ones (0), starting points (1), moved ones (2)."""
        fraction = len(part.x) / whole
        with taking(model, MAIN if kind == 0 else 1), _bn_per_own_example(model, fraction):
            logits, loss = passed(model, part.x, part.y, self.smoothing)
            loss = self.weights[kind] * fraction * loss
            backward(loss)
        return measured(logits, loss, part.y)

    @torch.no_grad()
    def moved(self, x: Images, start: Images) -> Images:
        """The starting points, one step uphill."""
        if start.grad is None:  # weight 0: no gradient
            return start.detach()
        size = o.WHOLE.size(self.step_size, one_eps(self.threat))
        return self.threat.project(x, start + size * self.threat.norm.steepest(own_gradient(start.grad, start)))


def divided(batch: Batch, fraction: float) -> tuple[Batch, Batch]:
    """A batch in two: the clean part, and a fraction of the examples at its end, or none if those would be too few."""
    count = round(fraction * len(batch.x))
    cut = len(batch.x) - (count if count >= _LEAST and len(batch.x) - count >= _LEAST else 0)
    parts = ((part[:cut], part[cut:]) for part in (batch.x, batch.y, batch.ids))
    x, y, ids = parts
    return batch._replace(x=x[0], y=y[0], ids=ids[0]), batch._replace(x=x[1], y=y[1], ids=ids[1])


@contextmanager
def _bn_per_own_example(model: nn.Module, fraction: float) -> Iterator[None]:
    """Scales gradients of the BatchNorm layers of a pass to its own examples, not to the whole batch.

    Without it auxiliary BatchNorm, which gets a fifth of the examples, would learn at a fifth of the rate.
    """

    def scaled(gradient: Tensor) -> Tensor:
        return gradient / fraction

    weights = [weight for part in routed_parts(model) for weight in part.taken.parameters() if weight.requires_grad]
    hooks = [weight.register_hook(scaled) for weight in weights]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
