"""Removal of pixels that leaves no trace of the shape of the mask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.numbers.deletion import ordered, places
from robustlab.explain.numbers.imputation import imputed
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, nowhere, where_defined

_PURPOSE = 0x40AD


@typed
@dataclass(frozen=True)
class ROAD:
    """Mean probability of the class after parts of the pixels were replaced by noisy means of their neighbours.

        1/R sum_r p(x with the first r P pixels imputed),   by falling values of the map

    Unlike deletion, the replaced pixels do not show where they were. Small if the map finds the pixels that the class
    depends on. Pixels are ordered by the sum of the map over the channels. Undefined for a constant map, and for inputs
    that are no images (N, C, H, W). One forward pass for each part.

    Args:
        parts: fractions of the pixels that are replaced, each in (0, 1).
        noise: standard deviation of normal noise on replaced pixels, in input units.
        least: True replaces the pixels of smallest value first; a large number is good then.

    Raises: ValueError for no parts, parts out of range, or noise below 0.
    Source: Rong, Leemann, Borisov, Kasneci, Kasneci, A Consistent and Efficient Evaluation Strategy for Attribution
    Methods, ICML 2022; with the probability in place of the accuracy, so that each image has a number.
    """

    parts: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
    noise: float = 0.01
    least: bool = False

    def __post_init__(self) -> None:
        if not self.parts or not all(0 < part < 1 for part in self.parts):
            raise ValueError(f"parts must be fractions in (0, 1), one at least, got {self.parts}")
        if not self.noise >= 0:
            raise ValueError(f"noise must be a number >= 0, got {self.noise}")

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(forward=len(self.parts), maps=1)

    def curve(self, subject: Subject) -> Tensor:
        """Probabilities (N, R), one for each part; NaN rows where undefined."""
        if subject.x.ndim != 4:
            return nowhere(subject)[:, None].expand(-1, len(self.parts))
        case, pixels = replace(subject.case, score="probability"), subject.maps.per_pixel
        place, size = places(-pixels if self.least else pixels), pixels[0].numel()
        curve = [case.scores(self._without(subject, place < int(part * size), k)) for k, part in enumerate(self.parts)]
        return where_defined(torch.stack(curve, 1), ordered(pixels)[:, None])

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,), in [0, 1]."""
        return self.curve(subject).mean(1)

    def _without(self, subject: Subject, missing: Tensor, number: int) -> Tensor:
        noise = subject.case.streams.fork(_PURPOSE, number).normal(subject.x.shape[1:], dtype=subject.x.dtype)
        return imputed(subject.x, missing) + torch.where(missing[:, None], noise * self.noise, 0)


NUMBERS.register(
    "road", NumberSpec(ROAD, "mean probability after pixels are imputed, best first", "1", "lower", "Rong et al. 2022")
)
