"""Instability of maps under noise."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.map_distances import DISTANCES
from robustlab.explain.numbers.changes import Change, GaussianChange, check_draws
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, flat, where_defined

_PURPOSE = 0x1157AB


@typed
@dataclass(frozen=True)
class NoiseInstability:
    """Mean distance of the maps of an input and of noisy copies.

        1/K sum_k d(M(x + c_k), M(x)),   c_k random changes

    The explained class stays that of the input. Undefined where the map of the input is 0 or a map is not finite.

    Args:
        draws: number K of noisy copies; one map each.
        distance: name of a distance of maps, see ``robustlab.explain.DISTANCES``; all but "l2" ignore the scale.
        change: of the input, by default normal noise with a standard deviation of 0.1.

    Raises: ValueError for draws below 1 or an unknown distance.
    Source: Alvarez-Melis, Jaakkola, On the Robustness of Interpretability Methods, 2018, with a mean in place of the
    maximum.
    """

    draws: int = 10
    distance: str = "cosine"
    change: Change = field(default_factory=GaussianChange)

    def __post_init__(self) -> None:
        check_draws(self.draws)
        DISTANCES.get(self.distance)

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(maps=1 + self.draws)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,)."""
        own, total = (
            subject.maps.values.double(),
            torch.zeros(len(subject), dtype=torch.float64, device=subject.x.device),
        )
        for draw in range(self.draws):
            change = self.change(subject.x, subject.case.streams.fork(_PURPOSE, draw))
            total += distance_where_defined(self.distance, subject.mapped(subject.x + change), own)
        return total / self.draws


def distance_where_defined(name: str, maps: Tensor, own: Tensor) -> Tensor:
    """Distances of maps (N, ...) from those of the inputs, (N,); NaN where the latter are 0 or one is not finite."""
    finite = (flat(maps).isfinite() & flat(own).isfinite()).all(1)
    distance = DISTANCES.get(name)(maps.nan_to_num(posinf=0, neginf=0), own.nan_to_num(posinf=0, neginf=0))
    return where_defined(distance, finite & (flat(own) != 0).any(1))


NUMBERS.register(
    "noise-instability",
    NumberSpec(NoiseInstability, "mean distance of maps under noise", "1", "lower", "Alvarez-Melis, Jaakkola 2018"),
)
