"""Distance from an input to the nearest decision boundary."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustlab.attacks import FABT
from robustlab.core import L1, L2, Linf, Norm, ThreatModel
from robustlab.core.bounds import Bounds
from robustlab.core.kinds import typed
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, check_bounds, where_defined


@typed
@dataclass(frozen=True)
class BoundaryDistance:
    """Norm of the smallest change found that alters the answer, by the attack FAB-T and a search back to the input.

        min { ||d|| : argmax f(x + d) != y },   x + d within bounds

    An upper limit of the distance; of a linear model it is |z_y - z_k| / ||w_y - w_k||_2 for the nearest class k, as
    far as the bounds leave room. 0 for misclassified examples. Undefined where no change was found. About three forward
    passes and one backward pass per step and class.

    Args:
        steps: of the attack towards each class.
        targets: largest number of classes that are tried, the likeliest first.
        norm: of the change.
        bounds: of valid inputs.
        halvings: of the way back to the input, between the last point with the same answer and the first with another.

    Source: Croce, Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack, ICML 2020.
    """

    steps: int = 20
    targets: int = 5
    norm: Norm = field(default_factory=L2)
    bounds: Bounds = (0.0, 1.0)
    halvings: int = 10

    def __post_init__(self) -> None:
        self._attack(torch.zeros(1, 1))
        if self.halvings < 0:
            raise ValueError(f"halvings must be a whole number >= 0, got {self.halvings}")

    def cost(self, classes: int) -> Cost:
        """Passes at most; forward and backward ones together are those of the attack."""
        targets = min(self.targets, classes - 1)
        return Cost(forward=3 * self.steps * targets + 3 * targets + 4 + self.halvings, backward=self.steps * targets)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,), >= 0, in units of the norm."""
        x, streams = subject.x, subject.case.streams
        check_bounds(x, self.bounds, "BoundaryDistance")
        attack = self._attack(x)
        found = attack(subject.twin, x, subject.y, stop="never", seed=streams.seed, ids=streams.ids)
        crossed = self._wrong(subject, found)
        distance = self.norm.size(self._nearer(subject, found).double() - x.double())
        return where_defined(torch.where(self._wrong(subject, x), 0, distance), crossed)

    def _nearer(self, subject: Subject, found: Tensor) -> Tensor:
        """Points between the inputs and those found (N, ...), nearer to the inputs and still with another answer."""
        x, shape = subject.x, (-1, *[1] * (subject.x.ndim - 1))
        low, high = (torch.full((len(x),), end, dtype=torch.float64, device=x.device) for end in (0.0, 1.0))
        for _ in range(self.halvings):
            middle = (low + high) / 2
            wrong = self._wrong(subject, torch.lerp(x, found, middle.to(x.dtype).reshape(shape)))
            low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
        return torch.lerp(x, found, high.to(x.dtype).reshape(shape))

    def _attack(self, x: Tensor) -> FABT:
        """The attack with a budget that holds all valid inputs."""
        width, size = self.bounds[1] - self.bounds[0], x[0].numel()
        eps = {Linf: width, L2: width * size**0.5, L1: width * size}.get(type(self.norm), width * size)
        return FABT(ThreatModel(self.norm, eps, self.bounds), self.steps, self.targets)

    def _wrong(self, subject: Subject, x: Tensor) -> Tensor:
        twin = replace(subject.twin, search=subject.twin.model)
        with torch.no_grad():
            return torch.cat(
                [twin(part).argmax(1) != y for part, y in zip(twin.split(x), twin.split(subject.y), strict=True)]
            )


NUMBERS.register(
    "boundary-distance",
    NumberSpec(
        BoundaryDistance, "smallest change found that alters the answer", "L2 of inputs", "higher",
        "Croce, Hein 2020", "model",
    ),
)  # fmt: skip
