"""Infidelity of maps: how badly they predict the change of the score."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.numbers.changes import Change, GaussianChange, check_draws
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, flat, where_defined

_PURPOSE = 0x14F1DE


@typed
@dataclass(frozen=True)
class Infidelity:
    """Mean squared error of a map as a linear prediction of the change of the score f.

        1/K sum_k (<I_k, M(x)> - (f(x) - f(x - I_k)))**2,   I_k random

    It is 0 for a gradient of a linear model. It suits maps in units of a derivative, such as gradients; maps times the
    input are to be scaled at least. Undefined for maps that are not finite.

    Args:
        draws: number K of random changes; one forward pass each.
        change: draws -I, by default normal noise with a standard deviation of 0.1; ``SquareChange()`` removes squares
            as in the source, equation 8.
        scaled: True multiplies the map of each example by the number that makes the error smallest, as the source does
            in its experiments.

    Raises: ValueError for draws below 1.
    Source: Yeh, Hsieh, Suggala, Inouye, Ravikumar, On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019,
    definition 2.1.
    """

    draws: int = 100
    change: Change = field(default_factory=GaussianChange)
    scaled: bool = False

    def __post_init__(self) -> None:
        check_draws(self.draws)

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(forward=1 + self.draws, maps=1)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,), >= 0."""
        case, own = subject.case, flat(subject.maps.values)
        score, predicted, seen = case.scores(subject.x).double(), [], []
        for draw in range(self.draws):
            points = subject.x + self.change(subject.x, case.streams.fork(_PURPOSE, draw))
            predicted.append((own * (flat(subject.x) - flat(points))).sum(1))
            seen.append(score - case.scores(points).double())
        guess, truth = torch.stack(predicted), torch.stack(seen)
        if self.scaled:
            guess = guess * ((guess * truth).sum(0) / guess.square().sum(0)).nan_to_num()
        error = (guess - truth).square().mean(0)
        return where_defined(error, error.isfinite())


NUMBERS.register(
    "infidelity",
    NumberSpec(
        Infidelity, "error of the map as a prediction of the score", "score squared", "lower", "Yeh et al. 2019"
    ),
)
