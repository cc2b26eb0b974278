"""Gradual unfreezing of a pretrained network: open groups of layers, and the learning rate of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from robustlab.core import Batch, Metrics, Recipe, RecipeState
from robustlab.core.routes import routed_parts
from robustlab.training.groups import Group
from robustlab.training.optimizers import MakeOptimizer


@dataclass(frozen=True)
class Layered:
    """An optimizer whose learning rate falls from group to group, from the top of the network down.

        rate of a group = rate of the optimizer * decay ** (groups above it)

    Args:
        make: the optimizer, at the rate of the topmost group.
        decay: in (0, 1]; 1 is one rate for all.
        depths: number of groups above that of each parameter, in the order of the model's parameters.

    Source: Howard and Ruder, Universal Language Model Fine-tuning for Text Classification, ACL 2018, section 3.2.
    """

    make: MakeOptimizer
    decay: float
    depths: tuple[int, ...] = field(repr=False)

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer for these parameters, the topmost group first."""
        held = list(parameters)
        optimizer = self.make(held)
        (options,) = optimizer.param_groups
        optimizer.param_groups = [
            {
                **options,
                "params": [p for p, own in zip(held, self.depths, strict=True) if own == depth],
                "lr": options["lr"] * self.decay**depth,
            }
            for depth in sorted(set(self.depths))
        ]
        return optimizer


@dataclass(frozen=True)
class Unfreezing:
    """A recipe on a network that is opened from the top, one group of layers after the other.

    Closed groups are in eval mode and have no gradient, so their weights and statistics do not change. At the start the
    two topmost groups are open, as the head has been trained before; the others follow at equal distances.

    Args:
        recipe: defines the step on each batch.
        groups: those that are opened at some time, from the bottom to the top.
        closed: those below them.
        fraction: of the training, in [0, 1], after which all are open; 0: from the start.
        keep_statistics: normalisation layers use their running statistics throughout, and keep them; auxiliary ones
            never do.
        start: identity of the weights at the start, as text.

    Source: Howard and Ruder, ACL 2018, section 3.3, who open one more layer each epoch.
    """

    recipe: Recipe
    groups: tuple[Group, ...] = field(repr=False, compare=False)
    closed: tuple[Group, ...] = field(default=(), repr=False, compare=False)
    fraction: float = 0.5
    keep_statistics: bool = False
    start: str = ""

    @property
    def replays(self) -> int:
        """As of the wrapped recipe."""
        return self.recipe.replays

    def init(self, model: nn.Module) -> RecipeState:
        """As of the wrapped recipe."""
        return self.recipe.init(model)

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Callable[[Tensor], None]) -> Metrics:
        """One step of the recipe on the open groups."""
        self.arrange(batch.progress)
        return self.recipe.step(model, batch, state, backward)

    def opened(self, progress: float) -> int:
        """Number of open groups, counted from the top.

        Args:
            progress: fraction of the training that is done, in [0, 1].
        """
        every, first = len(self.groups), min(2, len(self.groups))
        return every if progress >= self.fraction else first + int((every - first) * progress / self.fraction)

    def arrange(self, progress: float) -> None:
        """Opens the groups that are due, and closes all others."""
        border = len(self.groups) - self.opened(progress)
        for group in (*self.closed, *self.groups[:border]):
            _close(group)
        for group in self.groups[border:]:
            _open(group)
            if self.keep_statistics:
                _keep_statistics(group)


def _open(group: Group) -> None:
    for parameter in group.parameters:
        parameter.requires_grad = True
    for part in group.parts:
        if not part.training:
            part.train()


def _close(group: Group) -> None:
    for parameter in group.parameters:
        parameter.requires_grad = False
    for part in group.parts:
        if part.training:
            part.eval()


def _keep_statistics(group: Group) -> None:
    """Puts normalisation layers into eval mode, but not auxiliary ones, which have no pretrained statistics."""
    for part in group.parts:
        auxiliary = {layer for routed in routed_parts(part) for layer in routed.aux.modules()}
        for layer in part.modules():
            if isinstance(layer, _NormBase) and layer.training and layer not in auxiliary:
                layer.eval()


@contextmanager
def trainable(groups: Iterable[Group], closed: Iterable[Group]) -> Iterator[None]:
    """Makes the parameters of some groups alone trainable for the block."""
    flags = [(p, on) for part, on in ((groups, True), (closed, False)) for group in part for p in group.parameters]
    before = [parameter.requires_grad for parameter, _ in flags]
    try:
        for parameter, on in flags:
            parameter.requires_grad = on
        yield
    finally:
        for (parameter, _), was in zip(flags, before, strict=True):
            parameter.requires_grad = was
