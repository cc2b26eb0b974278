"""Free adversarial training: the pass that trains the weights also updates the perturbation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Metrics, Recipe, RecipeState, ThreatModel
from robustlab.core.gradients import own_gradient
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.training.crafting import Backward, check_warmup, risen
from robustlab.training.recipes import options as o
from robustlab.training.recipes.cross_entropy import one_eps, passed
from robustlab.training.recipes.options import Option, passed_to
from robustlab.training.recipes.registry import register_recipe

_DELTA = "delta"


@register_recipe("free", "each batch replayed (Shafahi et al.)")
@dataclass(frozen=True)
class FreeOptions:
    """Options of ``free``."""

    threat: o.Ball
    replays: Annotated[int, Option("Updates with each batch.")] = 8
    step_size: Annotated[float | None, o.WHOLE.option] = None
    eps_warmup: o.EpsWarmup = 0.0

    def recipe(self) -> Recipe:
        """As ``free`` makes it."""
        return passed_to(free, self)


@typed
def free(
    threat: ThreatModel,
    *,
    replays: int = FreeOptions.replays,
    step_size: float | None = FreeOptions.step_size,
    eps_warmup: float = FreeOptions.eps_warmup,
) -> Free:
    """Free adversarial training: each batch is trained on m times, each time with the perturbation one step further.

        loss = mean CE(model(clip(x + delta)), y);   then delta <- project(delta + step_size * steepest(grad_delta))

    The perturbation is carried over to the next batch. One epoch does the work of ``replays`` epochs, so fewer epochs
    are needed.

    Args:
        threat: norm, eps and bounds.
        replays: updates with each batch, m in the paper; >= 1.
        step_size: of the perturbation; None: eps.
        eps_warmup: fraction of the training over which eps, and with it the step size, rises linearly from 0.

    Source: Shafahi et al., Adversarial Training for Free!, NeurIPS 2019, algorithm 1 (m = 8 on CIFAR-10, 4 on
    ImageNet). As in the released code for ImageNet, delta belongs to the places in a batch, not to examples, and the
    gradient through the clipping counts.
    """
    return Free(threat, replays, step_size, eps_warmup)


@typed
@dataclass(frozen=True)
class Free:
    """The recipe that ``free`` makes; its state is the perturbation (N, ...), empty before the first batch.

    Raises: ValueError for less than one replay, a step size that is not positive, an eps per example, or a
        warm-up outside [0, 1].
    """

    threat: ThreatModel
    replays: int = 8
    step_size: float | None = None
    eps_warmup: float = 0.0

    def __post_init__(self) -> None:
        one_eps(self.threat)
        if not isinstance(self.replays, int) or self.replays < 1:
            raise ValueError(f"replays must be a whole number >= 1, got {self.replays}")
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"step_size must be > 0 in input units, got {self.step_size}")
        check_warmup("eps_warmup", self.eps_warmup)

    def init(self, model: nn.Module) -> RecipeState:
        """No perturbation yet: the shape of the inputs is not known."""
        del model
        return {_DELTA: torch.zeros(0)}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """One pass, whose gradient moves the perturbation and, once the loop has updated them, the weights."""
        norm, fraction = self.threat.norm, risen(batch.progress, self.eps_warmup)
        eps = one_eps(self.threat)
        carried = _carried(state[_DELTA], batch.x)
        delta = carried[: len(batch.x)].requires_grad_()
        logits, loss = passed(model, (batch.x + delta).clamp(*self.threat.bounds), batch.y)
        backward(loss)
        with torch.no_grad():
            uphill = norm.steepest(own_gradient(delta.grad, delta))
            moved = delta + uphill * (fraction * o.WHOLE.size(self.step_size, eps))
            state[_DELTA] = torch.cat([norm.project(moved, fraction * eps), carried[len(moved) :]])
        return measured(logits, loss, batch.y)


def _carried(delta: Tensor, x: Tensor) -> Tensor:
    """The perturbation of at least as many places as the batch has, in the memory layout of the inputs; new ones are 0.

    Raises: ValueError if it is of inputs of another shape.
    """
    if delta.numel() and delta.shape[1:] != x.shape[1:]:
        raise ValueError(f"the perturbation is of inputs {tuple(delta.shape[1:])}, the batch of {tuple(x.shape[1:])}")
    channels_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    places = x.new_zeros((max(len(x), len(delta)), *x.shape[1:])).contiguous(memory_format=layout)
    if delta.numel():
        places[: len(delta)] = delta
    return places
