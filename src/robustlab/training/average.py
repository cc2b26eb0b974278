"""Moving averages of the weights, and the best weights so far: other weights of the model that is being trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

Weights: TypeAlias = dict[str, Tensor]
"""A state dict whose tensors are the holder's own."""


def copied(model: nn.Module) -> Weights:
    """The present weights and buffers; what else a model's state is, is not copied."""
    return {name: value.detach().clone() for name, value in tensors(model).items()}


def tensors(model: nn.Module) -> Weights:
    """The tensors of a model's state dict, which share its memory."""
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


@torch.no_grad()
def average_(average: Weights, model: nn.Module, decay: float, updates: int) -> None:
    """Moves an average towards the present weights and floating-point buffers; others are copied.

        average <- d * average + (1 - d) * weights,   d = min(decay, (1 + t) / (10 + t)) after t earlier updates

    so that the first updates, far from where training ends, are soon forgotten.
    """
    kept = min(decay, (1 + updates) / (10 + updates))
    for name, value in tensors(model).items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - kept)
        else:
            average[name].copy_(value)


@torch.no_grad()
def put(model: nn.Module, weights: Weights) -> None:
    """Writes weights into a model, in the memory that it has."""
    for name, value in tensors(model).items():
        value.copy_(weights[name])


@contextmanager
def with_weights(model: nn.Module, weights: Weights | None) -> Iterator[None]:
    """Gives a model other weights for the block; None: leaves it its own."""
    if weights is None:
        yield
        return
    own = copied(model)
    put(model, weights)
    try:
        yield
    finally:
        put(model, own)
