"""Crafting of the inputs that a step is trained on, and the parts that recipes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias, cast

from torch import Tensor, nn

from robustlab.attacks import at_eps, threat_of
from robustlab.core import Attack, Batch, Images, Labels, Metrics, Recipe, RecipeState, Streams
from robustlab.core.kinds import typed
from robustlab.training.training_twin import forget, training_twin

Backward: TypeAlias = Callable[[Tensor], None]
BnMode: TypeAlias = Literal["eval", "train"]
Craft: TypeAlias = Callable[[nn.Module, Batch], Images]
"""Makes the inputs (N, ...) to be trained on from a batch; leaves the model as it was."""


class TwoPhase(Protocol):
    """A recipe that first makes inputs and then learns from them; a wrapper may act in between."""

    @property
    def replays(self) -> int:
        """As of any recipe."""

    def init(self, model: nn.Module) -> RecipeState:
        """As of any recipe."""

    def craft(self, model: nn.Module, batch: Batch) -> Images:
        """The inputs to be trained on (N, ...); the model is left as it was."""

    def learn(self, model: nn.Module, batch: Batch, x_adv: Images, backward: Backward) -> Metrics:
        """Calls ``backward`` on the losses of the batch and of the inputs made from it."""

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """Both phases."""


def both_phases(
    self: TwoPhase,
    model: nn.Module,
    batch: Batch,
    state: RecipeState,  # noqa: ARG001 -- the signature of a recipe
    backward: Backward,
) -> Metrics:
    """Makes x_adv, then learns from it."""
    return self.learn(model, batch, self.craft(model, batch), backward)


def no_memory(self: object, model: nn.Module) -> RecipeState:  # noqa: ARG001 -- the signature of a recipe
    """The empty state; the model's training twin is built anew."""
    forget(model)
    return {}


@dataclass(frozen=True)
class RecipeWrapper:
    """A recipe around another one, with the same replays and the same state.

    Args:
        recipe: the wrapped one.
    """

    recipe: Recipe

    @property
    def replays(self) -> int:
        """As of the wrapped recipe."""
        return self.recipe.replays

    def init(self, model: nn.Module) -> RecipeState:
        """State of the wrapped recipe."""
        return self.recipe.init(model)


@typed
@dataclass(frozen=True)
class Crafting:
    """An attack as part of a training step.

    Args:
        attack: makes x_adv, at full strength; its draws follow the step and the ids of the examples.
        bn_mode: mode of the model while x_adv is made. "eval": normalisation layers use their running statistics and
            dropout is off, which is also faster. "train": batch statistics, without a change of the running ones.
        eps_warmup: fraction of the training, in [0, 1], over which eps rises linearly from 0, and with it the step
            size.
        steps_warmup: fraction of the training, in [0, 1], over which the number of steps rises from 1 to all.

    Raises: ValueError for a warm-up outside [0, 1], an unknown bn_mode, or an attack that has no single eps, or no
        number of steps, to be raised.
    """

    attack: Attack
    bn_mode: BnMode = "eval"
    eps_warmup: float = 0.0
    steps_warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.bn_mode not in ("eval", "train"):
            raise ValueError(f"bn_mode must be 'eval' or 'train', got {self.bn_mode!r}")
        check_warmup("eps_warmup", self.eps_warmup)
        check_warmup("steps_warmup", self.steps_warmup)
        if self.eps_warmup and not isinstance(threat_of(self.attack).eps, float):
            raise ValueError("eps_warmup needs one eps for all examples")
        if self.steps_warmup and not hasattr(self.attack, "steps"):
            raise ValueError(f"steps_warmup needs an attack with steps, {type(self.attack).__name__} has none")

    def __call__(self, model: nn.Module, batch: Batch, target: Labels | None = None) -> Images:
        """The adversarial inputs of a batch (N, ...); the model is left as it was.

        Args:
            model: in the modes in which it is trained.
            batch: the clean one.
            target: classes to be reached (N,), int64; None: any wrong one.
        """
        strength = risen(batch.progress, self.eps_warmup)
        if strength == 0.0:
            return batch.x
        attack = self.grown(self.scaled(strength), risen(batch.progress, self.steps_warmup))
        with in_eval_mode(model) if self.bn_mode == "eval" else nullcontext():
            twin = training_twin(model, batch.x)
            return attack(twin, batch.x, batch.y, target=target, stop="never", seed=batch.seed, ids=batch.ids)

    def scaled(self, strength: float) -> Attack:
        """The attack with a fraction of its eps, and of its step size if that was given."""
        if strength == 1.0:
            return self.attack
        weaker = at_eps(self.attack, cast(float, threat_of(self.attack).eps) * strength)
        step_size = getattr(weaker, "step_size", None)
        return weaker if step_size is None else _changed(weaker, step_size=step_size * strength)

    @staticmethod
    def grown(attack: Attack, fraction: float) -> Attack:
        """The attack with a fraction of its steps, at least one."""
        if fraction == 1.0:
            return attack
        steps = cast(int, getattr(attack, "steps"))  # noqa: B009 -- not every attack has steps
        return _changed(attack, steps=max(1, round(fraction * steps)))


def check_warmup(name: str, warmup: float) -> None:
    """Refuses a warm-up outside [0, 1]."""
    if not 0.0 <= warmup <= 1.0:
        raise ValueError(f"{name} is a fraction of the training, in [0, 1], got {warmup}")


def risen(progress: float, warmup: float) -> float:
    """Fraction in [0, 1] that rises linearly over a warm-up."""
    return min(1.0, progress / warmup) if warmup else 1.0


def _changed(attack: Attack, **values: float) -> Attack:
    return replace(attack, **values)  # type: ignore[type-var]


@typed
@dataclass(frozen=True)
class GaussianNoise:
    """Makes noisy inputs: x + sigma * N(0, I), not cut to any bounds.

    Args:
        sigma: standard deviation >= 0, in input units.
    """

    sigma: float

    def __post_init__(self) -> None:
        if not self.sigma >= 0:
            raise ValueError(f"sigma is a standard deviation >= 0 in input units, got {self.sigma}")

    def __call__(self, model: nn.Module, batch: Batch) -> Images:
        """The noisy inputs of a batch (N, ...)."""
        del model
        noise = Streams(batch.seed, batch.ids).normal(batch.x.shape[1:], dtype=batch.x.dtype)
        return batch.x + self.sigma * noise


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Puts every sub-module that is in training mode into eval mode, for the block."""
    changed = [part for part in model.modules() if part.training]
    for part in changed:
        part.training = False
    try:
        yield
    finally:
        for part in changed:
            part.training = True
