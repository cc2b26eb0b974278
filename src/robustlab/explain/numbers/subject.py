"""Matter of a number: some examples, the model and the method that explains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from robustlab.core import Twin
from robustlab.core.bounds import Bounds, outside
from robustlab.core.kinds import typed
from robustlab.explain.call import maps_of
from robustlab.explain.case import Case
from robustlab.explain.maps import Maps
from robustlab.explain.registry import Method


@typed
@dataclass(frozen=True)
class Subject:
    """Some examples of which numbers are measured.

    Args:
        method: of the maps.
        case: the examples, with the explained classes, the model and the random numbers.
        y: true labels (N,).
    """

    method: Method
    case: Case
    y: Tensor

    def __len__(self) -> int:
        return len(self.case)

    @property
    def x(self) -> Tensor:
        """Inputs (N, ...)."""
        return self.case.x

    @property
    def twin(self) -> Twin:
        """The model."""
        return self.case.twin

    @cached_property
    def maps(self) -> Maps:
        """Maps of the inputs, made at the first use."""
        return maps_of(self.method, self.case)

    def mapped(self, points: Tensor) -> Tensor:
        """Maps of other points (N, ...), one for each example, float64.

        The explained classes and the random numbers of the method are those of the examples: two maps of one example
        differ by their points alone.
        """
        return maps_of(self.method, replace(self.case, x=points.to(self.x.dtype))).values.double()


def where_defined(values: Tensor, defined: Tensor) -> Tensor:
    """Numbers (N,), float64, with NaN where they are not defined."""
    return values.double().where(defined, torch.nan)


def nowhere(subject: Subject) -> Tensor:
    """NaN for every example (N,), float64."""
    return torch.full((len(subject),), torch.nan, dtype=torch.float64, device=subject.x.device)


def check_bounds(x: Tensor, bounds: Bounds, name: str) -> None:
    """Checks that inputs lie within bounds.

    Raises: ValueError that names the number, for one that does not.
    """
    low, high = (float(end) for end in x.detach().aminmax())
    if lie := outside(low, high, bounds, x.dtype):
        raise ValueError(
            f"{name} searches valid inputs, and these lie {lie}: give {name}(bounds=(low, high)) among the numbers, or "
            "leave it out"
        )


def flat(maps: Tensor) -> Tensor:
    """Values of each example in a row (N, D), float64."""
    return maps.double().flatten(1)


def by_parts(function: Callable[[Tensor], Tensor], twin: Twin, x: Tensor) -> Tensor:
    """Results (N, ...) of a function of inputs, micro-batch by micro-batch of the model."""
    return torch.cat([function(part) for part in twin.split(x)])
