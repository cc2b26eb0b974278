"""Counterfactuals: the nearest image for which a network answers another class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.attacks import FABT
from robustlab.core import L2, Model, Norm, ThreatModel, Twin, frozen, own_twin
from robustlab.core.kinds import typed
from robustlab.core.user_code import model_called

_HALVINGS = 12


@typed
@dataclass(frozen=True)
class Counterfactuals:
    """Nearest points found.

    Args:
        x: points (N, ...); where nothing was found, the inputs.
        found: True where the model answers the target (N,).
        size: norm of the change (N,), float64; infinite where nothing was found.
    """

    x: Tensor
    found: Tensor
    size: Tensor


@typed
def counterfactuals(
    model: Model,
    x: Tensor,
    target: Tensor,
    *,
    norm: Norm | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    eps: float | None = None,
    steps: int = 100,
) -> Counterfactuals:
    """The smallest change of each input for which the model answers the target, by FAB and halvings of its result.

    On a linear model of two classes it is the input's distance to the boundary. Elsewhere it is an upper bound of the
    smallest size.

    Args:
        model: from inputs (N, ...) to logits (N, K), used in the modes it is in; it is left as it was.
        x: inputs (N, ...), floating point, within bounds.
        target: a class for each (N,), int64; where the model answers it already, the input comes back.
        norm: that is small; None: L2.
        bounds: smallest and largest input value.
        eps: largest size; None: any within the bounds, which must be finite then.
        steps: of FAB; each costs a backward pass.

    Raises: ValueError for inputs or targets that do not fit, or infinite bounds without eps.

    Source: Croce, Hein, Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack, ICML 2020.
    """
    norm = L2() if norm is None else norm
    threat = ThreatModel(norm, _largest(norm, x, bounds) if eps is None else eps, bounds)
    with _own(model, x) as twin:
        answers = _answers(twin, x.detach())
        far = FABT(threat, steps)(model, x, answers, target=target, stop="never")
        found = _answers(twin, far) == target
        points = torch.where(found.reshape(-1, *[1] * (x.ndim - 1)), far, x.detach())
        near = _halved(twin, threat, x.detach(), points, target)
    size = norm.size(near.double() - x.detach().double()).masked_fill(~found, torch.inf)
    return Counterfactuals(near, found, size)


def _largest(norm: Norm, x: Tensor, bounds: tuple[float, float]) -> float:
    """Size of a change from one end of the bounds to the other of every value."""
    width = bounds[1] - bounds[0]
    if width == torch.inf:
        raise ValueError("give eps, the largest size, where the bounds are infinite")
    return float(norm.size(torch.full_like(x[:1], width, dtype=torch.float64)))


@contextmanager
def _own(model: Model, x: Tensor) -> Iterator[Twin]:
    """The user's own model in micro-batches, restored at the end."""
    own = model.model if isinstance(model, Twin) else model
    with torch.inference_mode(mode=False), frozen(own), model_called(), torch.no_grad():
        yield own_twin(own, x)


def _answers(twin: Twin, x: Tensor) -> Tensor:
    return torch.cat([twin(part).argmax(1) for part in twin.split(x)])


def _halved(twin: Twin, threat: ThreatModel, x: Tensor, far: Tensor, target: Tensor) -> Tensor:
    """Points nearer to the inputs on the lines to ``far``, at which the model still answers the target."""
    shape = (-1, *[1] * (x.ndim - 1))
    low, high, near = x.new_zeros(len(x)), x.new_ones(len(x)), far.clone()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        points = threat.project(x, torch.lerp(x, far, middle.reshape(shape)))
        there = _answers(twin, points) == target
        low, high = torch.where(there, low, middle), torch.where(there, middle, high)
        near = torch.where(there.reshape(shape), points, near)
    return near
