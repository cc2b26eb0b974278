"""Stability of maps: under random noise, and under an attack in the same budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from robustlab.attacks import RandomNoise
from robustlab.core import Model
from robustlab.core.kinds import typed
from robustlab.explain.call import explain
from robustlab.explain.map_attack import MapAttack, MapAttackResult
from robustlab.explain.map_distances import DISTANCES


@typed
@dataclass(frozen=True)
class MapStability:
    """Distances of the maps of changed inputs from those of the inputs, by the name of the distance, each (N,).

    Args:
        noise: at a random point of the budget.
        attack: at the point that an attack found, at the same prediction.
        noise_kept: True where the prediction is kept at the random point (N,).
        attacked: result of the attack.
    """

    noise: Mapping[str, Tensor]
    attack: Mapping[str, Tensor]
    noise_kept: Tensor
    attacked: MapAttackResult


@typed
def map_stability(
    attack: MapAttack,
    model: Model,
    x: Tensor,
    target: Tensor | None = None,
    *,
    seed: int = 0,
    ids: Tensor | None = None,
) -> MapStability:
    """Distances of maps under random noise and under attack, in one budget and by the same measures.

    The attack begins at the random point. It climbs one distance; all are measured at what it found.

    Args:
        attack: with the budget and the method of the maps.
        model: from inputs (N, ...) to logits (N, K), used in the modes it is in.
        x: inputs (N, ...).
        target: explained classes (N,); None: those that the model predicts.
        seed: of the noise, the attack and the method.
        ids: names of the examples (N,), which their draws follow; None: 0..N-1.

    Raises: ValueError for bad inputs, and for methods and models without a derivative.
    """
    found = attack(model, x, target, seed=seed, ids=ids)
    classes, before, after = found.before.target, found.before.values, found.after.values
    noisy = RandomNoise(attack.threat)(model, x, classes, seed=seed, ids=ids)
    maps = explain(attack.method, model, noisy, classes, score=attack.score, seed=seed, ids=ids).values
    names = [name for name in DISTANCES.names() if name != "ssim" or x.ndim in (3, 4)]
    return MapStability(
        {name: DISTANCES.get(name)(maps, before) for name in names},
        {name: DISTANCES.get(name)(after, before) for name in names},
        attack.keeps(model, x, noisy),
        found,
    )
