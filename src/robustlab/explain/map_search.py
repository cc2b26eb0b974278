"""Search for another map at the same prediction: iterates by the smooth twin, judged by the user's own model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustlab.attacks import maximise
from robustlab.attacks.maximise import Plan
from robustlab.core import Objective, Observation, Score, Twin, unfinished
from robustlab.core.rows import all_rows
from robustlab.explain.case import Case
from robustlab.explain.graph_case import Climbed, probabilities
from robustlab.explain.registry import Method

_CHECKS = 8  # of iterates on the way: each costs two passes forward and one back, a step about four
_SLACK = 1 - 1e-3  # of the tolerance: in another batch logits may round otherwise
_BACK = (0.75, 0.5, 0.25)


@dataclass
class Judge:
    """The user's own model, and the best point of each example so far that keeps its prediction.

    Args:
        case: of the inputs.
        method: of the maps.
        measure: distance of maps.
        tolerance: largest change of the confidence.
        goal: maps to be resembled (N, ...); None: others than those of the inputs.
        predicted: probabilities of the inputs (N, K).
        x: the best points (N, ...).
        maps: of these.
        value: distance of these from the maps of the inputs, or less that from the goal (N,).
    """

    case: Case
    method: Method
    measure: Callable[[Tensor, Tensor], Tensor]
    tolerance: float
    goal: Tensor | None
    predicted: Tensor
    x: Tensor
    maps: Tensor
    value: Tensor
    reference: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.reference = self.maps.clone() if self.goal is None else self.goal
        self.value = self._value(self.maps, all_rows(self.x))

    @staticmethod
    def of(
        case: Case, method: Method, measure: Callable[[Tensor, Tensor], Tensor], tolerance: float, goal: Tensor | None
    ) -> Judge:
        """A judge whose best points are the inputs."""
        predicted, maps = own_probabilities(case, case.x), _maps(method, case)
        return Judge(case, method, measure, tolerance, goal, predicted, case.x.clone(), maps, predicted.new_empty(0))

    def prediction(self, x: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Change of the confidence, and True where the prediction is kept, for points of some examples, both (M,)."""
        before = self.predicted if rows is None else self.predicted[rows]
        return kept_prediction(before, own_probabilities(self.case, x), self.tolerance)

    def offer(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Keeps the points that are better.

        Args:
            x: points (M, ...) in the dtype of the inputs, within the budget.
            rows: numbers of their examples (M,); None: all.

        Returns: True where the prediction is kept (M,).
        """
        here = all_rows(self.x) if rows is None else rows
        change, kept = self.prediction(x, here)
        kept &= change.abs() <= self.tolerance * _SLACK
        part = self.case if rows is None else self.case[rows]
        maps = _maps(self.method, replace(part, x=x))
        value = self._value(maps, here)
        better = (kept & (value > self.value[here])).nonzero()[:, 0]
        these = here[better]
        self.x[these], self.maps[these], self.value[these] = x[better], maps[better], value[better]
        return kept

    def distance(self, value: Tensor) -> Tensor:
        """Distance from the maps of the inputs, or from the goal, of values (N,)."""
        return value if self.goal is None else -value

    def _value(self, maps: Tensor, rows: Tensor) -> Tensor:
        return self.distance(self.measure(maps, self.reference[rows]))


def kept_prediction(before: Tensor, after: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Change of the confidence, and True where class and confidence are kept, by probabilities (N, K), both (N,)."""
    confidence, classes = before.max(1)
    change = after.gather(1, classes[:, None])[:, 0] - confidence
    return change, (after.argmax(1) == classes) & (change.abs() <= tolerance)


def beyond(squared: Tensor, free: float) -> Tensor:
    """Distance (N,) of predictions beyond a free one, from the squared distance; 0 up to there, with derivative 0."""
    return (squared.clamp_min(1e-12).sqrt() - free).relu()


def own_probabilities(case: Case, x: Tensor) -> Tensor:
    """Probabilities of points (M, ...) by the user's own model (M, K), in float64."""
    with torch.no_grad():
        return probabilities(torch.cat([case.twin(part) for part in case.twin.split(x)]))


def _maps(method: Method, case: Case) -> Tensor:
    return method(case).detach().to(case.x.dtype)


def search(judge: Judge, plan: Plan, climbed: Climbed, weight: float) -> None:
    """Offers iterates to a judge.

    Args:
        judge: decides on them.
        plan: of the steps.
        climbed: distance of maps and of predictions.
        weight: of the latter.
    """
    x, streams = judge.case.x, judge.case.streams
    sign = 1.0 if judge.goal is None else -1.0
    free = judge.tolerance / 2
    score = Score(lambda found, _: sign * found[:, 0] - weight * beyond(found[:, 1], free).square(), "distance of maps")
    twin = Twin(climbed, climbed, watch=_Watch(judge, max(1, plan.steps // _CHECKS)))
    objective = Objective(twin, all_rows(x), score, unfinished, ids=streams.ids)
    start = plan.start(x.to(torch.promote_types(x.dtype, torch.float32)), plan.threat, streams)
    last = maximise(objective, plan.threat.search_region(x), start, plan.step, steps=plan.steps, stop="never")
    lost = (~judge.offer(last)).nonzero()[:, 0]
    if lost.numel():
        _back(judge, plan, last[lost], lost)


def _back(judge: Judge, plan: Plan, last: Tensor, rows: Tensor) -> None:
    """Offers points on the line from an input to its last iterate (M, ...), which changes the prediction."""
    x, threat = judge.case.x[rows], plan.threat.take(rows)
    for part in _BACK:
        judge.offer(threat.project(x, x + part * (last - x)), rows)


@dataclass
class _Watch:
    """Offers every so many iterates to the judge."""

    judge: Judge
    every: int
    count: int = 0

    def __call__(self, state: Observation) -> None:
        if self.count % self.every == 0:
            self.judge.offer(state.x_adv)
        self.count += 1
