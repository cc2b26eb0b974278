"""Smooth Adversarial Training, and its ablation by gradient: that of the attack or that of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args

from torch import nn

from robustlab.attacks import PGD
from robustlab.core import Batch, Images, Metrics, Recipe, RecipeState, ThreatModel, smooth_gradients
from robustlab.core.kinds import typed
from robustlab.core.smooth import smooth_parts
from robustlab.training.crafting import Backward, BnMode, TwoPhase, both_phases
from robustlab.training.recipes import options as o
from robustlab.training.recipes.cross_entropy import Adversarial, adversarial, one_eps
from robustlab.training.recipes.options import passed_to
from robustlab.training.recipes.registry import register_recipe

Where: TypeAlias = Literal["attack", "update", "both", "neither"]


@register_recipe("sat", "one step through smooth activations", activation="silu")
@dataclass(frozen=True)
class SmoothOptions:
    """Options of ``smooth_adversarial``."""

    threat: o.Ball
    step_size: Annotated[float | None, o.WHOLE.option] = None
    mix: o.Mix = 1.0
    bn_mode: o.BnMode = "eval"
    eps_warmup: o.EpsWarmup = 0.0
    smoothing: o.Smoothing = 0.1

    def recipe(self) -> Recipe:
        """As ``smooth_adversarial`` makes it."""
        return passed_to(smooth_adversarial, self)


@typed
def smooth_adversarial(
    threat: ThreatModel,
    *,
    step_size: float | None = SmoothOptions.step_size,
    mix: float = SmoothOptions.mix,
    bn_mode: BnMode = SmoothOptions.bn_mode,
    eps_warmup: float = SmoothOptions.eps_warmup,
    smoothing: float = SmoothOptions.smoothing,
) -> Adversarial:
    """The recipe of Smooth Adversarial Training: PGD-1, for a model that ``robustlab.models.smooth`` has made smooth.

        min_w E CE(model(project(x + u + step_size * sign(grad))), y),   u uniform in the ball

    The step is cheap and weak; the smooth activation gives it a better gradient.

    Args:
        threat: norm, eps and bounds.
        step_size: None: eps.
        mix: fraction of the loss on adversarial inputs, in [0, 1]; the rest is on clean ones.
        bn_mode: "eval", as in the released code.
        eps_warmup: fraction of the training over which eps rises linearly from 0.
        smoothing: fraction of each label, spread evenly over all classes.

    Source: Xie, Tan, Gong, Yuille, Le, Smooth Adversarial Training, 2020, section 3.1: eps and step 4/255 on ImageNet.
    Label smoothing of 0.1 as in the released code, which in one batch of five starts at the input itself; ours always
    starts at a random point.
    """
    attack = PGD(threat, 1, o.WHOLE.size(step_size, one_eps(threat)))
    return adversarial(attack, mix=mix, bn_mode=bn_mode, eps_warmup=eps_warmup, smoothing=smoothing)


def smooth_in(recipe: TwoPhase, where: Where) -> SmoothIn:
    """Another recipe, with the smooth derivative of ReLU for the attack, for the weights, for both or for neither.

    The model is one that ``robustlab.models.smooth`` made with ``only_gradient=True``: its forward pass is that of ReLU
    in all four cases, so only the gradient differs.

    Args:
        recipe: one that makes inputs and then learns from them: ``smooth_adversarial``, ``madry``, ``trades``, ...
        where: "attack": while inputs are made; "update": while their loss is differentiated by the weights.

    Raises: ValueError for a recipe that is not in two phases, or another place.
    Source: Xie et al., Smooth Adversarial Training, 2020, section 3.2 and table 1.
    """
    if not (hasattr(recipe, "craft") and hasattr(recipe, "learn")):
        raise ValueError(f"a recipe must first make inputs and then learn from them: {recipe!r} has no two phases")
    return SmoothIn(recipe, where)


@dataclass(frozen=True)
class SmoothIn:
    """The recipe that ``smooth_in`` makes.

    Raises: ValueError for another place than the four.
    """

    recipe: TwoPhase
    where: Where

    def __post_init__(self) -> None:
        if self.where not in get_args(Where):
            raise ValueError(f"where must be one of {', '.join(get_args(Where))}, got {self.where!r}")

    @property
    def replays(self) -> int:
        """As of the wrapped recipe."""
        return self.recipe.replays

    def init(self, model: nn.Module) -> RecipeState:
        """State of the wrapped recipe.

        Raises: ValueError for a model without derivatives that can be switched.
        """
        if not smooth_parts(model):
            raise ValueError(
                f"{type(model).__name__} has no derivative that can be switched: make it with "
                "robustlab.models.smooth(model, only_gradient=True)"
            )
        return self.recipe.init(model)

    step = both_phases

    def craft(self, model: nn.Module, batch: Batch) -> Images:
        """The inputs that the wrapped recipe makes, by the gradient for the attack."""
        with smooth_gradients(model, on=self.where in ("attack", "both")):
            return self.recipe.craft(model, batch)

    def learn(self, model: nn.Module, batch: Batch, x_adv: Images, backward: Backward) -> Metrics:
        """The second phase of the wrapped recipe, by the gradient for the weights."""
        with smooth_gradients(model, on=self.where in ("update", "both")):
            return self.recipe.learn(model, batch, x_adv, backward)
