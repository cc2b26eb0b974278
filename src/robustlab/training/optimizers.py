"""Optimizers as values: a class and its options, built once the parameters are known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn

from robustlab.core.kinds import typed

MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Option: TypeAlias = bool | float | tuple[float, float]


@dataclass(frozen=True)
class TorchOptimizer:
    """An optimizer class of torch with its options; runs fused where torch can.

    Args:
        kind: the class, e.g. ``torch.optim.NAdam``.
        options: names and values of its arguments.
    """

    kind: type[torch.optim.Optimizer]
    options: tuple[tuple[str, Option], ...] = ()

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer for these parameters."""
        held = list(parameters)
        options: dict[str, Option] = dict(self.options)
        if "fused" in inspect.signature(self.kind).parameters and all(map(_fusible, held)):
            options.setdefault("fused", True)
        return self.kind(held, **options)  # type: ignore[arg-type]


def _fusible(parameter: nn.Parameter) -> bool:
    return parameter.device.type in ("cpu", "cuda") and parameter.is_floating_point()


@typed
def tuned(kind: type[torch.optim.Optimizer], **options: Option) -> TorchOptimizer:
    """Any optimizer of torch, e.g. ``tuned(torch.optim.NAdam, lr=1e-3)``."""
    return TorchOptimizer(kind, tuple(options.items()))


@typed
def sgd(
    learning_rate: float = 0.1, *, momentum: float = 0.9, nesterov: bool = True, weight_decay: float = 5e-4
) -> TorchOptimizer:
    """Stochastic gradient descent with momentum.

    Args:
        learning_rate: the highest rate; the schedule scales it.
        momentum: in [0, 1).
        nesterov: Nesterov momentum, if there is momentum.
        weight_decay: factor of the L2 penalty, on all weights.
    """
    return tuned(
        torch.optim.SGD,
        lr=learning_rate,
        momentum=momentum,
        nesterov=nesterov and momentum > 0,
        weight_decay=weight_decay,
    )


@typed
def adamw(
    learning_rate: float = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.01
) -> TorchOptimizer:
    """Adam with decoupled weight decay.

    Args:
        learning_rate: the highest rate; the schedule scales it.
        betas: decay of the running means of the gradient and of its square.
        weight_decay: fraction of each weight that a step at rate 1 takes away.
    """
    return tuned(torch.optim.AdamW, lr=learning_rate, betas=betas, weight_decay=weight_decay)
