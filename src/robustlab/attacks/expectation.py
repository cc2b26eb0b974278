"""Expectation over transformations: attacks on random models, or against random transformations of inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from torch import Tensor

from robustlab.attacks.call import Call, craft
from robustlab.attacks.facts import passes_needed
from robustlab.core import Attack, Logits, Model, Twin, fold_in
from robustlab.core.kinds import typed
from robustlab.core.modes import seed_generators

Transformation: TypeAlias = Callable[[Tensor], Tensor]
_LABEL = 0xE07


@typed
@dataclass(frozen=True)
class EOT:
    """An attack that climbs the mean score over random passes: expectation over transformations.

        maximise E_t[ score(model(t(x_adv)), y) ]

    The randomness is that of the model, of the transformation, or both. Scores and gradients are means over the draws,
    fresh ones at each point, and a point is a success if all of them are: one that fools most passes only is improved
    further, and the point of the highest mean score comes back in the end.

    Args:
        attack: the attack.
        draws: passes per point, >= 1; the cost is that many times that of the attack.
        transformation: of inputs (N, ...), differentiable, drawing from torch's global generators, which are seeded
            for the call and put back; None: the model alone is random.

    Source: Athalye, Engstrom, Ilyas, Kwok, Synthesizing Robust Adversarial Examples, ICML 2018. The released
    AutoAttack counts a point as a success if its last draw is one; a single draw of many points is often lucky.
    """

    attack: Attack
    draws: int = 20
    transformation: Transformation | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.draws, int) or self.draws < 1:
            raise ValueError(f"draws must be a whole number >= 1, got {self.draws}")

    def passes_needed(self, classes: int) -> int:
        """Passes of the attack, times the number of draws."""
        return self.draws * passes_needed(self.attack, classes)

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        seed_generators(fold_in(call.streams.seed, _LABEL, int(call.ids[0])))  # put back by the frame
        return call.by(self.attack, twin=replace(_transformed(call.twin, self.transformation), draws=self.draws))

    __call__ = craft


@dataclass(frozen=True)
class _Transformed:
    """A model that sees transformed inputs."""

    transformation: Transformation
    model: Model

    def __call__(self, x: Tensor) -> Logits:
        return self.model(self.transformation(x))


def _transformed(twin: Twin, transformation: Transformation | None) -> Twin:
    if transformation is None:
        return twin
    own = _Transformed(transformation, twin.model)
    search = _Transformed(transformation, twin.search) if twin.distinct else own
    return replace(twin, model=own, search=search)
