"""Adversarial neighbours: points near the examples with a larger loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from robustlab.core import L2, Labels, Logits, Norm
from robustlab.core.gradients import dense
from robustlab.core.kinds import typed
from robustlab.core.targets import check_classes, least_likely_class, random_class
from robustlab.regularization.features import (
    FREE,
    Inputs,
    Limits,
    check_movable,
    joined,
    leaf,
    named,
    rebuilt,
    setting,
    split,
    streams_of,
)

LossOf: TypeAlias = Callable[..., Tensor]
"""From inputs to a loss, a scalar or one number per example."""
TargetMethod: TypeAlias = Literal["true", "second", "least", "random"]
"""Towards which label: away from the true one; or to the second most likely, the least likely, a random wrong one."""
_START, _TARGET = 0x57A27, 0x7A26E7


@typed
@dataclass(frozen=True)
class Neighbourhood:
    """Settings of the search for adversarial neighbours.

        x_0 = x (+ a random point of the ball),   x_{t+1} = clip(x + project(x_t + step_size * steepest(g_t) - x))

    Args:
        norm: of the step, over all values of an example jointly, and of the ball.
        step_size: length of each step in that norm, > 0, in input units.
        steps: number of steps, >= 1.
        eps: radius of the ball around the inputs; None: no ball.
        random_start: begins at a random point of the ball, or, without eps, of one of radius step_size.

    Raises: ValueError for invalid values.
    Source: the defaults are those of Neural Structured Learning 1.4.0.
    """

    norm: Norm = field(default_factory=L2)
    step_size: float = 0.001
    steps: int = 1
    eps: float | None = None
    random_start: bool = False

    def __post_init__(self) -> None:
        if not self.step_size > 0:
            raise ValueError(f"step_size is a length > 0 in input units, got {self.step_size}")
        if self.steps < 1:
            raise ValueError(f"an adversarial neighbour needs at least one step, got steps={self.steps}")
        if self.eps is not None and not self.eps >= 0:
            raise ValueError(f"eps is a radius >= 0 in input units, or None, got {self.eps}")

    def started(self, x: Inputs, limits: Limits, seed: int, ids: Tensor | None) -> Inputs:
        """Starting point of the search: the inputs themselves, unless the start is random."""
        if not self.random_start:
            return x
        check_movable(x)
        tensors = {name: value for name, value in named(x).items() if value.is_floating_point()}
        rows = joined([value.detach() for value in tensors.values()])
        radius = self.step_size if self.eps is None else self.eps
        noise = self.norm.sample(rows, radius, streams_of(rows, seed, ids).fork(_START))
        moved = dict(zip(tensors, split(noise, list(tensors.values())), strict=True))
        return self._placed(x, x, moved, limits)

    def moved(self, x: Inputs, now: Inputs, gradient: Mapping[str | int, Tensor], limits: Limits = FREE) -> Inputs:
        """One step of the search.

        Args:
            x: the inputs.
            now: the current points.
            gradient: of the loss at these points, by name or position, for the tensors that it depends on; values that
                are not finite count as 0. Its length does not matter.
            limits: of the change.

        Returns: inputs like ``x``, without gradient; tensors without an entry in ``gradient`` stay unchanged.
        """
        if not gradient:
            return rebuilt(x, {name: value.detach() for name, value in named(x).items()})
        masked = [_masked(slope, setting(limits.mask, name, slope)) for name, slope in gradient.items()]
        step = self.norm.steepest_(joined(masked).clone()).mul_(self.step_size)
        steps = dict(zip(gradient, split(step, list(gradient.values())), strict=True))
        return self._placed(x, now, steps, limits)

    def _placed(self, x: Inputs, now: Inputs, steps: Mapping[str | int, Tensor], limits: Limits) -> Inputs:
        """Result of a step from ``now``, projected onto the ball around ``x`` and the limits."""
        first, last = named(x), named(now)
        change = [(last[name] - first[name]).detach() + step for name, step in steps.items()]
        if self.eps is not None:
            change = split(self.norm.project(joined(change), self.eps), change)
        placed = {name: value.detach() for name, value in first.items()}
        for name, delta in zip(steps, change, strict=True):
            low, high = (setting(limit, name, delta) for limit in (limits.low, limits.high))
            value = placed[name] + delta
            placed[name] = value if low is None and high is None else torch.clamp(value, low, high)
        return rebuilt(x, placed)


@typed
def adversarial_neighbour(
    loss_of: LossOf,
    x: Inputs,
    how: Neighbourhood | None = None,
    *,
    limits: Limits = FREE,
    seed: int = 0,
    ids: Tensor | None = None,
) -> Inputs:
    """Moves each example to a nearby point with a larger loss.

    Args:
        loss_of: from inputs to a loss: a scalar, or one number per example. Examples must not influence each other.
        x: a tensor (N, ...), or several by name or position, which make one vector per example; tensors that are no
            floats, or that the loss does not depend on, come back unchanged.
        how: norm, step size, steps, ball; None: the defaults of Neural Structured Learning.
        limits: a mask of the values that may change, smallest and largest values.
        seed: of the random start.
        ids: names of the examples (N,), int64, that draws follow; None: 0..N-1.

    Returns: inputs like ``x``, without gradient.
    Raises: ValueError for settings that do not fit, or a loss that does not depend on any input.

    Example:
        >>> from robustlab.core import Linf
        >>> adversarial_neighbour(lambda x: (x * torch.tensor([2.0, -1.0])).sum(), torch.zeros(1, 2),
        ...                       Neighbourhood(Linf(), 0.1))
        tensor([[ 0.1000, -0.1000]])

    Source: Bui, Ravi, Ramavajjala, Neural Graph Learning, WSDM 2018; Goodfellow et al., ICLR 2015, for one step.
    """
    how = how or Neighbourhood()
    now = how.started(x, limits, seed, ids)
    for _ in range(how.steps):
        now = how.moved(x, now, gradient_of(loss_of, now), limits)
    return now


def gradient_of(loss_of: LossOf, x: Inputs) -> dict[str | int, Tensor]:
    """The gradient of a loss by each tensor that it depends on, by name or position; may be empty.

    Raises: ValueError if no input is a float, or the loss cannot be differentiated at all.
    """
    with torch.enable_grad():
        leaves = {name: leaf(value) for name, value in named(x).items()}
        loss = loss_of(rebuilt(x, leaves)).sum()
        differentiable = {name: value for name, value in leaves.items() if value.requires_grad}
        if not differentiable or not loss.requires_grad:
            raise ValueError("the loss does not depend on any floating-point input: check the model")
        slopes = torch.autograd.grad(loss, list(differentiable.values()), allow_unused=True)
    return {name: slope for name, slope in zip(differentiable, slopes, strict=True) if slope is not None}


@typed
def target_labels(
    logits: Logits, y: Labels, method: TargetMethod = "true", *, seed: int = 0, ids: Tensor | None = None
) -> Labels:
    """Target labels of neighbours (N,).

    Args:
        logits: of the inputs (N, K).
        y: true labels (N,).
        method: "true": y itself; "second": the second most likely class; "least": the least likely one; "random":
            any class but y (the original may choose y).
        seed: of random classes.
        ids: names of the examples (N,), int64, that draws follow; None: 0..N-1.

    Raises: ValueError for an unknown method, fewer than two classes, or labels that are no class numbers.
    """
    if method not in get_args(TargetMethod):
        raise ValueError(f"there is no target method {method!r}: choose one of {', '.join(get_args(TargetMethod))}")
    classes = logits.shape[1]
    if classes < 2:
        raise ValueError(f"a target needs at least two classes, got logits {tuple(logits.shape)}")
    y = check_classes(y, logits)
    match method:
        case "second":
            return logits.topk(2, dim=1).indices[:, 1]
        case "least":
            return least_likely_class(logits)
        case "random":
            return random_class(logits, y, streams_of(y, seed, ids).fork(_TARGET))
    return y


def _masked(slope: Tensor, mask: Tensor | None) -> Tensor:
    slope = dense(slope)
    finite = torch.where(slope.isfinite(), slope, 0)
    return finite if mask is None else finite * mask
