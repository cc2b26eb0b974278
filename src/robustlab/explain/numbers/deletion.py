"""Deletion and insertion: the probability of the class while pixels go or come in the order of a map."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.numbers.baselines import BaselineName, baseline_of
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, nowhere, where_defined


@typed
@dataclass(frozen=True)
class Deletion:
    """Area under the curve of the class's probability while pixels are removed, those of largest value first.

        1/S sum_k (p_k + p_(k-1)) / 2,   p_k the probability with the first k/S of all pixels from the baseline

    Small if the map finds the pixels that the class depends on. Pixels are ordered by the sum of the map over the
    channels, of equal ones the first first, and lose all channels. A small number may also come from images unlike all
    that the model knows: compare with ``Insertion`` and other baselines. Undefined for a constant map, which has no
    order. S + 1 forward passes.

    Args:
        steps: number S of parts, of P // S pixels each up to rounding.
        baseline: "black" (0), "mean" of each channel of the image, or "blur".

    Raises: ValueError for steps below 1.
    Source: Petsiuk, Das, Saenko, RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018.
    """

    steps: int = 20
    baseline: BaselineName = "mean"

    def __post_init__(self) -> None:
        _check_steps(self.steps)

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(forward=self.steps + 1, maps=1)

    def curve(self, subject: Subject) -> Tensor:
        """Probabilities (N, steps + 1), from the whole input to the whole baseline; NaN rows where undefined."""
        return _curve(subject, self.baseline, self.steps, insert=False)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,), in [0, 1]."""
        return area(self.curve(subject))


@typed
@dataclass(frozen=True)
class Insertion:
    """Area under the curve of the class's probability while pixels come into a baseline, those of largest value first.

    Large if the map finds pixels that suffice for the class. All else is as in ``Deletion``; undefined also for a
    blur of inputs that are no images.

    Args:
        steps: number of parts.
        baseline: "blur" (images only), "black" (0), or "mean" of each channel of the image.

    Raises: ValueError for steps below 1.
    Source: Petsiuk, Das, Saenko, RISE, BMVC 2018.
    """

    steps: int = 20
    baseline: BaselineName = "blur"

    def __post_init__(self) -> None:
        _check_steps(self.steps)

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(forward=self.steps + 1, maps=1)

    def curve(self, subject: Subject) -> Tensor:
        """Probabilities (N, steps + 1), from the whole baseline to the whole input; NaN rows where undefined."""
        return _curve(subject, self.baseline, self.steps, insert=True)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,), in [0, 1]."""
        return area(self.curve(subject))


def area(curve: Tensor) -> Tensor:
    """Area under curves (N, S + 1) over [0, 1] by the trapezoid rule, (N,)."""
    return (curve[:, 1:] + curve[:, :-1]).mean(1) / 2


def places(pixels: Tensor) -> Tensor:
    """Place of each pixel in the order of falling values, from 0, equal ones in their own order (N, ...)."""
    order = pixels.flatten(1).argsort(dim=1, descending=True, stable=True)
    ranks = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, ranks).reshape(pixels.shape)


def ordered(pixels: Tensor) -> Tensor:
    """Mask (N,) of the maps that have an order: finite, and not constant."""
    values = pixels.flatten(1)
    return values.isfinite().all(1) & (values.amax(1) > values.amin(1))


def _curve(subject: Subject, baseline: BaselineName, steps: int, *, insert: bool) -> Tensor:
    if baseline == "blur" and subject.x.ndim != 4:
        return nowhere(subject)[:, None].expand(-1, steps + 1)
    empty = baseline_of(subject.x, baseline)
    before, after = (empty, subject.x) if insert else (subject.x, empty)
    case, pixels = replace(subject.case, score="probability"), subject.maps.per_pixel
    place, size = places(pixels), pixels[0].numel()
    place = place[:, None] if subject.x.ndim > 2 else place
    curve = [case.scores(torch.where(place < step * size // steps, after, before)) for step in range(steps + 1)]
    return where_defined(torch.stack(curve, 1), ordered(pixels)[:, None])


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps must be a whole number >= 1, got {steps}")


NUMBERS.register(
    "deletion",
    NumberSpec(Deletion, "mean probability while pixels go, best first", "1", "lower", "Petsiuk et al. 2018"),
)
NUMBERS.register(
    "insertion",
    NumberSpec(Insertion, "mean probability while pixels come, best first", "1", "higher", "Petsiuk et al. 2018"),
)
