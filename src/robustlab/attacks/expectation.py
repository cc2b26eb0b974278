"""Attacks on models that are random, or on what must survive random changes: expectation over transformations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from robustlab.attacks.call import checked_inputs, prepared
from robustlab.attacks.wrappers import threat_of
from robustlab.core import Attack, Logits, Model, Stop, Twin, fold_in

Transformation: TypeAlias = Callable[[Tensor], Tensor]
_LABEL = 0xE07


@dataclass(frozen=True)
class EOT:
    """An attack that climbs the mean score over random passes: expectation over transformations.

        maximise E_t[ score(model(t(x_adv)), y) ]

    The randomness is that of the model, of the transformation, or both. Scores and gradients are means over the draws,
    fresh ones at each point, and a point is a success if more than half of them are.

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

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        """Runs the attack on the mean, as ``robustlab.core.Attack`` says."""
        ids = checked_inputs(x, y, threat_of(self), target=target, ids=ids, stop=stop)
        with prepared(model, x) as (twin, _):
            torch.manual_seed(fold_in(seed, _LABEL, int(ids[0])))
            averaged = replace(_transformed(twin, self.transformation), draws=self.draws)
            return self.attack(averaged, x, y, target=target, stop=stop, seed=seed, ids=ids)


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
