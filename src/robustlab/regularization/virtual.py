"""Virtual adversarial neighbours: nearby inputs with other outputs of the model, searched without labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustlab.attacks import random_direction, virtual_direction
from robustlab.core import L2, Images, Logits, Model, Norm, Score, Scores
from robustlab.core.kinds import typed
from robustlab.regularization.distance import Distance, Reduction, SquaredL2Distance, distance_loss
from robustlab.regularization.features import check_movable, streams_of


@typed
@dataclass(frozen=True)
class VirtualNeighbourhood:
    """Settings of the search for virtual adversarial neighbours and of the comparison with them.

        d <- normalise(gradient of distance(f(x), f(x + xi d)) by d), iterated;   neighbour = x + step_size * d

    Args:
        norm: divisor of directions: Linf divides by the largest value, and does not take the sign.
        step_size: length of the step in that norm, > 0, in input units.
        iterations: of the power method, >= 1.
        xi: length at which the change is measured, in input units; None: one that moves each value by about 0.0003
            (more for half types), right for inputs about 1 wide. The original's 1e-6 is lost to rounding in float32.
        distance: between the outputs for an example and its neighbour.
        reduction: of the distances to one number.

    Raises: ValueError for a step size that is not positive.
    Source: Miyato et al., Virtual Adversarial Training, TPAMI 2019; the other defaults are those of Neural Structured
    Learning 1.4.0, whose distance is the squared L2 one, not the divergence of the paper.
    """

    norm: Norm = field(default_factory=L2)
    step_size: float = 0.001
    iterations: int = 1
    xi: float | None = None
    distance: Distance = field(default_factory=SquaredL2Distance)
    reduction: Reduction = "mean_nonzero"

    def __post_init__(self) -> None:
        if not self.step_size > 0:
            raise ValueError(f"step_size is a length > 0 in input units, got {self.step_size}")


@typed
def virtual_adversarial_loss(
    model: Model,
    x: Images,
    how: VirtualNeighbourhood | None = None,
    *,
    logits: Logits | None = None,
    start: Tensor | None = None,
    seed: int = 0,
    ids: Tensor | None = None,
) -> Tensor:
    """Change of a model's output between inputs and their virtual adversarial neighbours.

    Args:
        model: from inputs (N, ...) to outputs (N, D): logits, probabilities or embeddings.
        x: inputs (N, ...); no labels are needed.
        how: None: the defaults.
        logits: outputs for the inputs, if known; None costs one pass more.
        start: directions (N, ...) in which the search begins; None: random ones.
        seed: of those.
        ids: names of the examples (N,), int64, that draws follow; None: 0..N-1.

    Returns: a scalar with a gradient by the weights through the neighbours alone: the outputs for the inputs are
        constants. Where the output does not change near an input, its neighbour lies in the direction of the start.
    Raises: ValueError for inputs that are no floats, and ids that are no whole numbers.
    """
    how = how or VirtualNeighbourhood()
    check_movable(x)
    begin = random_direction(x, streams_of(x, seed, ids), how.norm) if start is None else start
    direction = virtual_direction(
        model,
        x,
        how.norm.normalise(begin),
        turn=how.norm.normalise,
        iterations=how.iterations,
        xi=how.xi or _difference(x, how.norm),
        divergence=_per_example(how.distance),
    )
    if logits is None:
        with torch.no_grad():
            logits = model(x)
    neighbours = (x + how.step_size * direction).to(x.dtype)
    return distance_loss(logits.detach(), model(neighbours), distance=how.distance, reduction=how.reduction)


def _difference(x: Images, norm: Norm) -> float:
    """A length that moves each value by about the root of the precision, at most that of float32.

    Shorter ones would vanish in the constant that divergences add to probabilities before the logarithm.
    """
    precision = max(torch.finfo(kind).eps for kind in (x.dtype, torch.float32))
    return math.sqrt(precision) * float(norm.size(torch.ones(1, x[0].numel())))


def _per_example(distance: Distance) -> Score:
    def score(logits: Logits, clean: Logits) -> Scores:
        return distance(clean, logits).reshape(len(logits), -1).sum(dim=1)

    return Score(score, repr(distance))
