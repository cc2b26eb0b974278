"""Roughness of maps: their total variation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, nowhere, where_defined


@typed
@dataclass(frozen=True)
class Roughness:
    """Total variation of a map over its size; small for smooth maps.

        sum over neighbours p, q of |m_p - m_q|  /  sum_p m_p

    m is the strength of each pixel, the sum over the channels of the absolute values. Neighbours are next to each
    other along one axis: horizontally and vertically in images. Of a constant map it is 0; a checkerboard of 0 and 1
    has almost 4, the largest value of an image, and independent uniform values have about 4/3. It does not depend on
    the scale of the map, but on the resolution of the images. Undefined for a map of zeros, and for inputs without
    neighbours: single pixels, and features (N, D), which have no order.

    Source: the anisotropic form of Rudin, Osher, Fatemi, Nonlinear Total Variation Based Noise Removal Algorithms,
    Physica D 1992.
    """

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(maps=1)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,), >= 0."""
        if subject.x.ndim < 3:
            return nowhere(subject)
        return roughness(subject.maps.strength)


def roughness(strength: Tensor) -> Tensor:
    """Total variation over the sum of values >= 0 (N, ...), (N,), float64; NaN where it is not defined."""
    m = strength.double()
    m = m / m.flatten(1).amax(1).reshape(-1, *[1] * (m.ndim - 1))
    variation = sum(
        (m.diff(dim=axis).abs().flatten(1).sum(1) for axis in range(1, m.ndim)),
        start=torch.zeros_like(m.flatten(1)[:, 0]),
    )
    value = variation / m.flatten(1).sum(1)
    return where_defined(value, value.isfinite() & (m[0].numel() > 1))


NUMBERS.register(
    "roughness", NumberSpec(Roughness, "total variation of the map over its sum", "1", "lower", "Rudin et al. 1992")
)
