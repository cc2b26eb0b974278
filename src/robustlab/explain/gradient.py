"""Maps of one gradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.case import Case
from robustlab.explain.registry import METHODS, MethodSpec


@typed
@dataclass(frozen=True)
class Gradient:
    """Derivative of the score by each input value.

    Source: Simonyan, Vedaldi, Zisserman, Deep Inside Convolutional Networks, ICLR 2014 workshop.
    """

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, ...)."""
        return case.gradient(case.x)


@typed
@dataclass(frozen=True)
class GradientTimesInput:
    """Derivative of the score by each input value, times that value.

    On a linear model the values add up to the score less the bias. Source: Shrikumar, Greenside, Shcherbina, Kundaje,
    Not Just a Black Box, 2016.
    """

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, ...)."""
        return case.gradient(case.x).mul_(case.x)


METHODS.register("gradient", MethodSpec(Gradient, "derivative of the score"))
METHODS.register("gradient-x-input", MethodSpec(GradientTimesInput, "derivative times input value"))
