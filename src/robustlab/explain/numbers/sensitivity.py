"""Largest change of maps near an input: maximal sensitivity and the local Lipschitz constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.numbers.changes import Change, UniformChange, check_draws
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, flat, where_defined

_PURPOSE = 0x5E4517


@typed
@dataclass(frozen=True)
class MaxSensitivity:
    """Largest change of the map among random points near the input, in parts of its size.

        max_k ||M(x + c_k) - M(x)||_2 / ||M(x)||_2,   c_k random changes

    The maximum over the whole ball is at least as large: more draws find more of it, and numbers with different draws
    cannot be compared. Undefined where the map of the input is 0.

    Args:
        draws: number of points; one map each.
        change: of the input, by default uniform in the Linf ball of radius 0.02.
        relative: False leaves out the division, as in the source's definition; its code divides.

    Raises: ValueError for draws below 1.
    Source: Yeh, Hsieh, Suggala, Inouye, Ravikumar, On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019,
    definition 3.1.
    """

    draws: int = 10
    change: Change = field(default_factory=UniformChange)
    relative: bool = True

    def __post_init__(self) -> None:
        check_draws(self.draws)

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(maps=1 + self.draws)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,)."""
        largest = _largest(subject, self.draws, self.change, lambda change: torch.ones_like(change[:, 0]))
        if not self.relative:
            return largest
        size = flat(subject.maps.values).norm(dim=1)
        return where_defined(largest / size, size > 0)


@typed
@dataclass(frozen=True)
class LocalLipschitz:
    """Largest change of the map among random points near the input, over the distance of the points.

        max_k ||M(x + c_k) - M(x)||_2 / ||c_k||_2,   c_k random changes

    Its scale is that of the maps: multiples of a model's logits have multiples of it.

    Args:
        draws: number of points; one map each.
        change: of the input, by default uniform in the Linf ball of radius 0.02.

    Raises: ValueError for draws below 1.
    Source: Alvarez-Melis, Jaakkola, On the Robustness of Interpretability Methods, 2018, equation 2, with random points
    in place of a search.
    """

    draws: int = 10
    change: Change = field(default_factory=UniformChange)

    def __post_init__(self) -> None:
        check_draws(self.draws)

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(maps=1 + self.draws)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,)."""
        return _largest(subject, self.draws, self.change, lambda change: change.norm(dim=1))


def _largest(subject: Subject, draws: int, change: Change, size: Callable[[Tensor], Tensor]) -> Tensor:
    """Largest distance of maps from those of the inputs, over a size of the change (N, D), (N,)."""
    own, found = flat(subject.maps.values), []
    for draw in range(draws):
        points = subject.x + change(subject.x, subject.case.streams.fork(_PURPOSE, draw))
        moved = flat(points) - flat(subject.x)  # as rounded
        distance = (flat(subject.mapped(points)) - own).norm(dim=1)
        found.append(where_defined(distance / size(moved), distance.isfinite()))
    return torch.stack(found).amax(0)


NUMBERS.register(
    "max-sensitivity",
    NumberSpec(MaxSensitivity, "largest relative change of the map nearby", "1", "lower", "Yeh et al. 2019"),
)
NUMBERS.register(
    "local-lipschitz",
    NumberSpec(
        LocalLipschitz,
        "largest change of the map per change of the input",
        "map / L2 of inputs",
        "lower",
        "Alvarez-Melis, Jaakkola 2018",
    ),
)
