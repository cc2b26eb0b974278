"""AdvProp: adversarial examples as further training data, normalised separately from the clean ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustlab.attacks import PGD
from robustlab.core import Batch, Labels, Linf, Metrics, RecipeState, Streams, ThreatModel, fold_in
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.core.routes import MAIN, routes_of, taking
from robustlab.training.crafting import Backward, Crafting, no_memory
from robustlab.training.recipes import options as o
from robustlab.training.recipes.cross_entropy import check_smoothing, one_eps, passed
from robustlab.training.recipes.options import Budget, Option, passed_to
from robustlab.training.recipes.registry import register_recipe
from robustlab.training.recipes.trades import check_weight

_TARGET = 0x7A26  # names the draws of targets


@register_recipe(
    "advprop",
    "clean and adversarial images through separate BatchNorm (Xie et al.); several --eps: one more for each",
    best="clean_accuracy",
)
@dataclass(frozen=True)
class AdvPropOptions:
    """Options of ``advprop``."""

    threat: Annotated[tuple[ThreatModel, ...], Budget(eps="4/255")]
    steps: Annotated[int | None, replace(o.STEPS, usual="n + 1 for n/255")] = None
    step_size: Annotated[float | None, replace(o.STEP_SIZE, usual="1/255")] = None
    targeted: Annotated[
        bool,
        Option(
            "Attack towards a random wrong class (the default), or away from the label.", flag="--targeted/--untargeted"
        ),
    ] = True
    weight: o.Weight = 1.0
    shared: Annotated[bool, Option("No auxiliary BatchNorm, to measure its effect.", flag="--shared-bn")] = False
    smoothing: o.Smoothing = 0.0

    def recipe(self) -> AdvProp:
        """As ``advprop`` makes it."""
        return passed_to(advprop, self)


@typed
def advprop(
    threat: ThreatModel | Sequence[ThreatModel],
    *,
    steps: int | None = AdvPropOptions.steps,
    step_size: float | None = AdvPropOptions.step_size,
    targeted: bool = AdvPropOptions.targeted,
    weight: float = AdvPropOptions.weight,
    shared: bool = AdvPropOptions.shared,
    smoothing: float = AdvPropOptions.smoothing,
) -> AdvProp:
    """AdvProp: clean images through the main BatchNorm and adversarial ones through the auxiliary, losses summed.

        loss = mean CE(main(x), y) + weight * sum_r mean CE(aux_r(x_adv_r), y)

    with x_adv_r made by PGD against the auxiliary route r itself, in eval mode. The model is one that
    ``robustlab.models.split_bn`` has made; its main route is tested and exported.

    Args:
        threat: norm, eps and bounds; several give fine-grained AdvProp, with a route each, such as the weakest first.
        steps: of PGD from a random start; None: n + 1 for a Linf eps of n / 255 of the range, and 1 where n is 1.
        step_size: of each; None: 1 / 255 of the range, or eps / steps where that is longer.
        targeted: towards a class drawn at random among the wrong ones, anew at each step; else away from the label.
        weight: of each adversarial loss, >= 0; with 0 it is standard training of the main route.
        shared: everything through the main BatchNorm, of a model that need not be split, to measure the effect of it.
        smoothing: fraction of each label, in [0, 1), that is spread evenly over all classes.

    Raises: ValueError for no threat model, or default steps for another norm than Linf in finite bounds.
    Source: Xie, Tan, Gong, Wang, Yuille, Le, Adversarial Examples Improve Image Recognition, CVPR 2020, algorithm 1 and
    section 5.1 (eps 4/255 with 5 steps, 1/255 with one); fine-grained: section 4.2. The attack is targeted and uses the
    auxiliary running statistics as in the released code, whose random target may be the label: ours never is.
    """
    threats = (threat,) if isinstance(threat, ThreatModel) else tuple(threat)
    craftings = tuple(Crafting(_pgd(one, steps, step_size)) for one in threats)
    return AdvProp(craftings, targeted, weight, shared, smoothing)


def _pgd(threat: ThreatModel, steps: int | None, step_size: float | None) -> PGD:
    eps = one_eps(threat)
    if steps is None:
        levels = round(eps / _level(threat, "steps"))
        steps = levels + 1 if levels > 1 else 1
    if step_size is None:
        step_size = max(_level(threat, "step_size"), eps / steps)
    return PGD(threat, steps, step_size)


def _level(threat: ThreatModel, name: str) -> float:
    """One of the 255 steps in brightness, in input units."""
    if not isinstance(threat.norm, Linf) or not math.isfinite(threat.bounds[1] - threat.bounds[0]):
        raise ValueError(f"AdvProp counts {name} in 1/255 of the range of a Linf ball: give {name} for {threat!r}")
    return threat.width / 255


@typed
@dataclass(frozen=True)
class AdvProp:
    """The recipe that ``advprop`` makes, with any attacks.

    Raises: ValueError if there is no attack, for a negative weight, or a smoothing outside [0, 1).
    """

    craftings: tuple[Crafting, ...]
    targeted: bool = True
    weight: float = 1.0
    shared: bool = False
    smoothing: float = 0.0
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.craftings:
            raise ValueError("AdvProp needs at least one threat model")
        check_weight("weight", self.weight)
        check_smoothing(self.smoothing)

    @property
    def routes(self) -> int:
        """Number of routes that the model must have."""
        return 1 if self.shared else 1 + len(self.craftings)

    def init(self, model: nn.Module) -> RecipeState:
        """The empty state.

        Raises: ValueError if the model has too few routes.
        """
        if self.routes > 1:
            check_routes(model, self.routes)
        return no_memory(self, model)

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """A pass over the clean batch, then for each route its adversarial batch, made and passed."""
        del state
        with taking(model, MAIN):
            logits, loss = passed(model, batch.x, batch.y, self.smoothing)
            backward(loss)
        found = measured(logits, loss, batch.y)
        for number, crafting in enumerate(self.craftings, start=1) if self.weight else ():
            with taking(model, MAIN if self.shared else number):
                target = self.target(batch, logits.shape[1], number) if self.targeted else None
                hard, worse = passed(model, crafting(model, batch, target), batch.y, self.smoothing)
                backward(self.weight * worse)
            found |= _adversarial(found, hard, worse, batch.y, self.weight, number)
        return found

    def target(self, batch: Batch, classes: int, route: int) -> Labels:
        """Classes to be reached (N,), drawn by the step and the ids of the examples."""
        return wrong_classes(batch.y, classes, Streams(fold_in(batch.seed, _TARGET, route), batch.ids))


def _adversarial(found: Metrics, logits: Tensor, loss: Tensor, y: Labels, weight: float, route: int) -> Metrics:
    """The whole loss, and loss and accuracy on adversarial examples."""
    name = "adversarial" if route == 1 else f"adversarial_{route}"
    own = measured(logits, loss, y)
    return {
        "loss": found["loss"] + weight * own["loss"],
        f"{name}_loss": own["loss"],
        f"{name}_accuracy": own["accuracy"],
    }


def wrong_classes(y: Labels, classes: int, streams: Streams) -> Labels:
    """For each label a class drawn uniformly from all others.

    Args:
        y: labels (N,), int64, in 0..classes-1.
        classes: number K of classes, at least 2.
        streams: one per example.

    Returns: classes (N,), int64, none of which is the label.
    """
    return (y + 1 + streams.integers(classes - 1)) % classes


def check_routes(model: nn.Module, needed: int) -> None:
    """Checks that a model has enough routes.

    Raises: ValueError if not, with the remedy.
    """
    there = routes_of(model)
    if there >= needed:
        return
    kind = type(model).__name__
    if not any(isinstance(part, _BatchNorm) for part in model.modules()):
        raise ValueError(
            f"{kind} holds no BatchNorm, so it has no auxiliary ones: AdvProp is for networks with BatchNorm"
        )
    raise ValueError(
        f"AdvProp needs {needed} routes, one for clean images and one per kind of adversarial ones, but this "
        f"{kind} has {there}: make them with robustlab.models.split_bn(model, routes={needed})"
    )
