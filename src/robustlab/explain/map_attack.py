"""Attack on explanations: another map at the same prediction, inside a budget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustlab.attacks import PGD
from robustlab.attacks.call import checked_inputs
from robustlab.attacks.maximise import Plan
from robustlab.core import Model, ThreatModel
from robustlab.core.kinds import typed
from robustlab.explain.call import name_of
from robustlab.explain.case import Case, ScoreName, cases
from robustlab.explain.graph_case import Climbed, smooth_map, with_search
from robustlab.explain.map_distances import DISTANCES, MapDistance
from robustlab.explain.map_search import Judge, kept_prediction, own_probabilities, search
from robustlab.explain.maps import Maps
from robustlab.explain.registry import Method, make_method
from robustlab.explain.smooth_twin import BETA, smooth_twin

_VALUES = 1 << 23


@typed
@dataclass(frozen=True)
class MapAttackResult:
    """Examples with another map at the same prediction.

    Args:
        x_adv: (N, ...), exactly within budget and bounds; the input itself where no other point was found.
        before: maps of the inputs, by the user's own model.
        after: maps of ``x_adv``, by the user's own model.
        distance: of the map after from the map before, or from the target map (N,).
        start: the same at the input (N,); 0 without a target map.
        change: of the confidence, after less before (N,).
        kept: True where class and confidence are those of the input within the tolerance (N,).
    """

    x_adv: Tensor
    before: Maps
    after: Maps
    distance: Tensor
    start: Tensor
    change: Tensor
    kept: Tensor


@typed
@dataclass(frozen=True)
class MapAttack:
    """Points of a budget whose maps differ most from those of the inputs, at the same class and confidence.

        maximise  distance(map(x_adv), map(x)) - gamma max(0, |p(x_adv) - p(x)| / tolerance - 1/2)**2

    by steps of equal length from a random point of the ball, p being the probabilities. With a target map the distance
    from that is minimised. The search takes derivatives from a smooth twin of the model; its iterates are judged by the
    user's own model, its class, its confidence and its map, eight times on the way and at the end. The best one that
    keeps the prediction is returned, and the input itself if there is none. Where the last one does not, points on the
    line back to the input are tried.

    Args:
        threat: norm, eps and bounds.
        method: of the maps, or its name; one that works by gradients, and takes few of them: they all keep their graph.
        distance: of maps, or its name; it is measured on the maps of the user's own model.
        steps: number of steps.
        step_size: length of each; None: 2.5 * eps / steps.
        tolerance: largest change of the predicted class's probability, above 0.
        gamma: weight of the change of all probabilities beyond half the tolerance.
        beta: sharpness of the smooth activations.
        score: explained.

    Source: Ghorbani, Abid, Zou, Interpretation of Neural Networks is Fragile, AAAI 2019 (untargeted, class kept);
    Dombrowski et al., Explanations Can Be Manipulated and Geometry Is to Blame, NeurIPS 2019, equation 5 (target map,
    penalty). There the prediction is only approximately that of the input, and the penalty, of outputs, begins at 0.
    """

    threat: ThreatModel
    method: Method | str = "gradient"
    distance: MapDistance | str = "l2"
    steps: int = 40
    step_size: float | None = None
    tolerance: float = 0.1
    gamma: float = field(default=1.0, kw_only=True)
    beta: float = field(default=BETA, kw_only=True)
    score: ScoreName = field(default="logit", kw_only=True)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be a whole number >= 1, got {self.steps}")
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise ValueError(f"step_size must be a finite number > 0 in the units of the inputs, got {self.step_size}")
        if not 0 < self.tolerance <= 1:
            raise ValueError(
                f"tolerance must be a change of a probability, above 0 and at most 1, got {self.tolerance}"
            )
        if not 0 <= self.gamma < math.inf:
            raise ValueError(f"gamma must be a finite number >= 0, got {self.gamma}")

    @typed
    def __call__(
        self,
        model: Model,
        x: Tensor,
        target: Tensor | None = None,
        *,
        target_map: Tensor | None = None,
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> MapAttackResult:
        """Attacks the maps of some examples; the model is left as it was.

        Args:
            model: from inputs (N, ...) to logits (N, K), used in the modes it is in.
            x: inputs (N, ...).
            target: explained classes (N,); None: those that the model predicts.
            target_map: maps to be resembled, (N, ...) or that of one example for all; None: any other than now.
            seed: of the random starts and of the method.
            ids: names of the examples (N,), which their draws follow; None: 0..N-1.

        Raises: ValueError for bad inputs, and for methods and models without a derivative.
        """
        checked_inputs(x, torch.zeros(len(x), dtype=torch.int64), self.threat, ids=ids)
        goal = None if target_map is None else _checked_map(target_map, x)
        with cases(model, x, target, score=self.score, seed=seed, ids=ids) as parts:
            return _joined([self._found(*block, goal) for block in _blocks(parts)])

    def keeps(self, model: Model, x: Tensor, changed: Tensor) -> Tensor:
        """True where the user's own model predicts the same within the tolerance, for inputs (N, ...), (N,)."""
        masks: list[Tensor] = []
        with cases(model, x, None, score=self.score, seed=0, ids=None) as parts:
            for case in parts:
                done = sum(map(len, masks))
                after = own_probabilities(case, changed[done : done + len(case)])
                masks.append(kept_prediction(own_probabilities(case, case.x), after, self.tolerance)[1])
        return torch.cat(masks)

    def _found(self, case: Case, rows: slice, goal: Tensor | None) -> MapAttackResult:
        method = make_method(self.method) if isinstance(self.method, str) else self.method
        distance = DISTANCES.get(self.distance) if isinstance(self.distance, str) else self.distance
        judge = Judge.of(case, method, distance.measure, self.tolerance, None if goal is None else goal[rows])
        start, before = judge.value.clone(), Maps(judge.maps.clone(), case.target, name_of(method))
        search(judge, self._plan(rows), self._climbed(judge, distance), self.gamma / self.tolerance**2)
        change, kept = judge.prediction(judge.x)
        after = replace(before, values=judge.maps)
        return MapAttackResult(judge.x, before, after, judge.distance(judge.value), judge.distance(start), change, kept)

    def _plan(self, rows: slice) -> Plan:
        """Steps of equal length from a random point, for some of the examples."""
        threat = self.threat.take(torch.arange(rows.start, rows.stop))
        return PGD(threat, self.steps, self.step_size).plan()

    def _climbed(self, judge: Judge, distance: MapDistance) -> Climbed:
        case = with_search(judge.case, smooth_twin(judge.case.twin.search, self.beta))
        maps, clean = smooth_map(judge.method, case)
        return Climbed(judge.method, case, distance.climbed, maps if judge.goal is None else judge.goal, clean)


def _blocks(parts: Iterator[Case]) -> Iterator[tuple[Case, slice]]:
    """Cases of so many examples as are searched together, with their place among all."""
    done = 0
    for part in parts:
        count = part.twin.rows or max(1, _VALUES // part.x[0].numel())
        if not part.twin.distinct and part.twin.rows is None:
            count = len(part)  # maybe the logits of an example depend on the others
        for first in range(0, len(part), count):
            block = part[first : first + count]
            yield block, slice(done, done + len(block))
            done += len(block)


def _checked_map(target_map: Tensor, x: Tensor) -> Tensor:
    if target_map.shape not in (x.shape, x.shape[1:], (1, *x.shape[1:])) or not target_map.isfinite().all():
        raise ValueError(
            f"target_map must hold finite numbers in the shape of the inputs {tuple(x.shape)}, or of one of them, got "
            f"{tuple(target_map.shape)}"
        )
    return target_map.detach().to(x).expand(x.shape)


def _joined(found: list[MapAttackResult]) -> MapAttackResult:
    return MapAttackResult(
        torch.cat([one.x_adv for one in found]),
        Maps.joined([one.before for one in found]),
        Maps.joined([one.after for one in found]),
        torch.cat([one.distance for one in found]),
        torch.cat([one.start for one in found]),
        torch.cat([one.change for one in found]),
        torch.cat([one.kept for one in found]),
    )
