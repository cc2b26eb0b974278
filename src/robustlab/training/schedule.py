"""Learning-rate schedules: pure functions from the step to the fraction of the full learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from robustlab.core.kinds import typed

Schedule: TypeAlias = Callable[[int, int], float]
"""Maps (step, steps in all), step in 0..steps-1, to a factor in [0, 1] of the optimizer's learning rate."""


@typed
@dataclass(frozen=True)
class Constant:
    """The full learning rate at every step."""

    def __call__(self, step: int, steps: int) -> float:  # noqa: ARG002 -- the signature of a schedule
        """The factor, always 1."""
        return 1.0


@typed
@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 down to 0, after an optional linear warm-up.

        factor = (1 + cos(pi * t)) / 2,  t = fraction of the steps after the warm-up that are done

    Args:
        warmup: fraction of all steps, in [0, 1), over which the rate rises linearly.

    Example:
        >>> [round(Cosine()(step, 4), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]

    Source: Loshchilov and Hutter, SGDR, ICLR 2017, equation 5, without restarts.
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.warmup < 1.0:
            raise ValueError(f"warmup is a fraction of all steps in [0, 1), got {self.warmup}")

    def __call__(self, step: int, steps: int) -> float:
        """The factor at one step."""
        rising = self.warmup * steps
        if step < rising:
            return (step + 1) / (rising + 1)
        return (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2


@typed
@dataclass(frozen=True)
class OneCycle:
    """Linear up to 1, then linear down to 0, with constant momentum.

    Args:
        peak: fraction of all steps, in (0, 1), after which the rate is highest.
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


@typed
@dataclass(frozen=True)
class MultiStep:
    """The full rate, multiplied by a factor at each of some points.

    Args:
        drops: fractions of all steps, in (0, 1), rising, after which the rate drops.
        factor: of each drop, in (0, 1].

    Example:
        >>> [round(MultiStep((0.5, 0.75))(step, 4), 3) for step in range(4)]
        [1.0, 1.0, 0.1, 0.01]

    Source: usual for adversarial training: TRADES drops by 10 after 75, 90 and 100 of 120 epochs; Pang et al., Bag of
    Tricks for Adversarial Training, ICLR 2021, after 100 and 105 of 110.
    """

    drops: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        inside = all(0.0 < drop < 1.0 for drop in self.drops)
        if not (inside and list(self.drops) == sorted(self.drops) and 0.0 < self.factor <= 1.0):
            raise ValueError(
                f"drops must be rising fractions in (0, 1) and the factor in (0, 1], got {self.drops} and {self.factor}"
            )

    def __call__(self, step: int, steps: int) -> float:
        """The factor at one step."""
        # Both sides are rounded alike, so that a drop at 0.7 of 10 steps is one before step 7.
        return self.factor ** sum(step >= round(drop * steps, 6) for drop in self.drops)


@typed
@dataclass(frozen=True)
class Cyclic:
    """Linear up to 1 and down again, several times.

    Args:
        cycles: their number >= 1; all have equal length.
        peak: fraction of each cycle, in (0, 1), after which the rate is highest.
        start: factor at the ends of each cycle, in [0, 1].

    Example:
        >>> [round(Cyclic(2)(step, 8), 3) for step in range(8)]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.5, 1.0, 0.5]

    Source: Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, the triangular policy.
    """

    cycles: int = 4
    peak: float = 0.5
    start: float = 0.0

    def __post_init__(self) -> None:
        if self.cycles < 1 or not (0.0 < self.peak < 1.0 and 0.0 <= self.start <= 1.0):
            raise ValueError(
                "cycles must be at least 1, peak in (0, 1) and start in [0, 1], "
                f"got {self.cycles}, {self.peak} and {self.start}"
            )

    def __call__(self, step: int, steps: int) -> float:
        """The factor at one step."""
        place = step * self.cycles / steps % 1
        fraction = place / self.peak if place < self.peak else (1 - place) / (1 - self.peak)
        return self.start + (1 - self.start) * fraction
