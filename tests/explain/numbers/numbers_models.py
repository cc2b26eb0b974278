"""Models with known gradients, and subjects of numbers made of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustlab.core import Streams
from robustlab.explain import Gradient, Method
from robustlab.explain.case import ScoreName, cases
from robustlab.explain.numbers import Subject


class Quadratic(nn.Module):
    """Logits (x A x / 2 + b x, 0) of inputs as rows, with a symmetric A."""

    def __init__(self, matrix: Tensor, slope: Tensor) -> None:
        super().__init__()
        self.matrix, self.slope = nn.Parameter(matrix), nn.Parameter(slope)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1)
        value = (rows @ self.matrix * rows).sum(1) / 2 + rows @ self.slope
        return torch.stack([value, torch.zeros_like(value)], 1)


class Stored:
    """Changes (K, N, ...) from a store, one after another."""

    def __init__(self, changes: Tensor) -> None:
        self.coming = iter(changes)

    def __call__(self, x: Tensor, streams: Streams) -> Tensor:
        assert streams.ids.shape == x.shape[:1]
        change: Tensor = next(self.coming)
        return change


def linear(*weights: Tensor) -> nn.Module:
    """A model whose k-th logit is the sum of input times the k-th weight."""
    last = nn.Linear(weights[0].numel(), len(weights), bias=False, dtype=weights[0].dtype)
    last.load_state_dict({"weight": torch.stack(weights).flatten(1)})
    return nn.Sequential(nn.Flatten(), last).eval().requires_grad_(requires_grad=False)


@contextmanager
def subject_of(
    model: nn.Module, x: Tensor, y: Tensor, method: Method | None = None, score: ScoreName = "logit"
) -> Iterator[Subject]:
    """The subject of all examples at once."""
    with cases(model, x, y, score=score, seed=0, ids=None) as parts:
        yield Subject(method or Gradient(), next(parts), y)
