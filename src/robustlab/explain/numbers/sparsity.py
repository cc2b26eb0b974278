"""Sparsity of maps by the Gini index."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, flat, where_defined


@typed
@dataclass(frozen=True)
class Sparsity:
    """Gini index of the absolute values of a map.

        1 - 2 sum_k (v_k / ||v||_1) (D - k + 1/2) / D,   v the absolute values, ascending, k = 1..D

    It is 0 for equal values and 1 - 1/D if all but one are 0. Undefined for a map of zeros.

    Args:
        pixels: True for the values summed over the channels, which are axis 1; False for each value by itself, as in
            the source.

    Source: Chalasani, Chen, Chowdhury, Jha, Wu, Concise Explanations of Neural Networks using Adversarial Training,
    ICML 2020, section 5; Hurley, Rickard, Comparing Measures of Sparsity, IEEE Transactions on Information Theory 2009.
    """

    pixels: bool = False

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(maps=1)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,), in [0, 1)."""
        return gini(subject.maps.per_pixel if self.pixels else subject.maps.values)


def gini(maps: Tensor) -> Tensor:
    """Gini index of the absolute values of each map (N,), float64; NaN for a map of zeros or with values not finite."""
    v = flat(maps).abs().sort(1).values
    v = v / v[:, -1:]
    size = v.shape[1]
    weight = torch.arange(size, 0, -1, dtype=v.dtype, device=v.device).sub_(0.5).div_(size)
    index = 1 - 2 * (v * weight).sum(1) / v.sum(1)
    return where_defined(index.clamp_min(0), index.isfinite())


NUMBERS.register(
    "sparsity", NumberSpec(Sparsity, "Gini index of the map's absolute values", "1", "higher", "Chalasani et al. 2020")
)
