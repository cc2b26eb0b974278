"""Instability of maps under attack."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from robustlab.core import Linf, Norm, ThreatModel
from robustlab.core.bounds import Bounds
from robustlab.core.kinds import typed
from robustlab.explain.graph_case import smooth_map, with_search
from robustlab.explain.map_attack import MapAttack
from robustlab.explain.map_distances import DISTANCES
from robustlab.explain.numbers.instability import distance_where_defined
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, check_bounds, nowhere
from robustlab.explain.smooth_twin import smooth_twin

_JUDGED = 9
"""Times at most that the attack looks at map and prediction of the user's own model."""


@typed
@dataclass(frozen=True)
class AttackInstability:
    """Distance of the map from one at the same prediction nearby, as far away as an attack finds it.

        max d(M(x + c), M(x)),   ||c|| <= eps, x + c within bounds, class kept, confidence within the tolerance

    A lower limit of the maximum, by ``robustlab.explain.MapAttack``; 0 where nothing was found. Compare it with
    ``NoiseInstability``. Undefined where the map of the input is 0, and for methods and models that have no derivative.

    Args:
        eps: radius of the ball in input units.
        steps: of the attack; each costs a map with second derivatives.
        distance: name of a distance of maps, see ``robustlab.explain.DISTANCES``.
        tolerance: largest change of the probability of the predicted class.
        norm: of the change.
        bounds: of valid inputs.

    Raises: ValueError for settings out of range; when called, for inputs out of bounds.
    Source: Ghorbani, Abid, Zou, Interpretation of Neural Networks is Fragile, AAAI 2019; Dombrowski et al.,
    Explanations Can Be Manipulated and Geometry Is to Blame, NeurIPS 2019.
    """

    eps: float = 8 / 255
    steps: int = 20
    distance: str = "cosine"
    tolerance: float = 0.1
    norm: Norm = field(default_factory=Linf)
    bounds: Bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        DISTANCES.get(self.distance)
        MapAttack(ThreatModel(self.norm, self.eps, self.bounds), steps=self.steps, tolerance=self.tolerance)

    def cost(self, classes: int) -> Cost:
        """Passes at most, for a method of one gradient."""
        del classes
        return Cost(2 * self.steps + 3 * _JUDGED, 2 * self.steps, 1 + _JUDGED)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,)."""
        case = subject.case
        check_bounds(case.x, self.bounds, "AttackInstability")
        if not _differentiable(subject):
            return nowhere(subject)
        threat = ThreatModel(self.norm, self.eps, self.bounds)
        attack = MapAttack(
            threat, subject.method, self.distance, self.steps, tolerance=self.tolerance, score=case.score
        )
        found = attack(case.twin, case.x, case.target, seed=case.streams.seed, ids=case.streams.ids)
        return distance_where_defined(self.distance, found.after.values.double(), subject.maps.values.double())


def _differentiable(subject: Subject) -> bool:
    """True if the map of the first example has a derivative by the input."""
    case = subject.case[:1]
    try:
        smooth_map(subject.method, with_search(case, smooth_twin(case.twin.search)))
    except ValueError:
        return False
    return True


NUMBERS.register(
    "attack-instability",
    NumberSpec(AttackInstability, "distance of maps under attack", "1", "lower", "Ghorbani et al. 2019"),
)
