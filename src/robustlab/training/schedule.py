"""Learning-rate schedules: pure functions from the step to the share of the full learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Schedule: TypeAlias = Callable[[int, int], float]
"""Maps (step, steps in all), step in 0..steps-1, to a factor in [0, 1] of the optimizer's learning rate."""


@dataclass(frozen=True)
class Constant:
    """The full learning rate at every step."""

    def __call__(self, step: int, steps: int) -> float:  # noqa: ARG002 -- the signature of a schedule
        """The factor, always 1."""
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 down to 0, after an optional linear warm-up.

        factor = (1 + cos(pi * t)) / 2,  t = share of the steps after the warm-up that are done

    Args:
        warmup: share of all steps, in [0, 1), over which the rate rises linearly.

    Example:
        >>> [round(Cosine()(step, 4), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]

    Source: Loshchilov and Hutter, SGDR, ICLR 2017, equation 5, without restarts.
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.warmup < 1.0:
            raise ValueError(f"warmup is a share of all steps in [0, 1), got {self.warmup}")

    def __call__(self, step: int, steps: int) -> float:
        """The factor at one step."""
        rising = self.warmup * steps
        if step < rising:
            return (step + 1) / (rising + 1)
        return (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2


@dataclass(frozen=True)
class OneCycle:
    """Linear up to 1, then linear down to 0; momentum stays as it is.

    Args:
        peak: share of all steps, in (0, 1), after which the rate is highest.
        start: factor at the first step, in [0, 1].

    Example:
        >>> [round(OneCycle(peak=0.5, start=0.0)(step, 4), 3) for step in range(4)]
        [0.0, 0.5, 1.0, 0.5]

    Source: the cyclic rate of Wong, Rice, Kolter, Fast is better than free, ICLR 2020 (peak at 2/5 of the epochs);
    Smith's one-cycle policy also lowers the momentum meanwhile, which we do not.
    """

    peak: float = 0.4
    start: float = 0.04

    def __post_init__(self) -> None:
        if not (0.0 < self.peak < 1.0 and 0.0 <= self.start <= 1.0):
            raise ValueError(f"peak must be in (0, 1) and start in [0, 1], got {self.peak} and {self.start}")

    def __call__(self, step: int, steps: int) -> float:
        """The factor at one step."""
        top = self.peak * steps
        if step < top:
            return self.start + (1 - self.start) * step / top
        return (steps - step) / (steps - top)
