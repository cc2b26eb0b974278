"""The smallest-norm driver: searches for the misclassified point that is nearest to each input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from robustlab.attacks.ranked import Attempted, Job, Lanes
from robustlab.core import Objective, Stop, ThreatModel

_ABOUT = 1 + 1e-3  # points clearly outside the budget are not measured exactly


class Move(Protocol):
    """Rule that moves points towards inputs; all tensors have the same rows, and points at least float32."""

    def back(self, x: Tensor, x_adv: Tensor, finished: Tensor) -> Tensor:
        """Points before the next move, given inputs, points and a mask of the finished ones."""

    def onward(self, objective: Objective, x: Tensor, x_adv: Tensor) -> Tensor:
        """The next points."""


def approach(job: Job, move: Move, start: Tensor, *, steps: int) -> Attempted:
    """Repeats: move; score; keep the nearest finished point of each row.

    With ``stop="success"`` a row leaves when a finished point is within the budget, and a row without one returns its
    input: a point projected from outside the budget is sometimes misclassified too, but does not count as a success of
    such an attack. With ``stop="never"`` all rows do all steps, and the nearest finished point is returned, projected
    onto the budget if it is too far, or the input if there is none. The points before a move are not scored, as in the
    released code of FAB.

    Args:
        job: inputs and their objective, which defines the finished points.
        move: rule that moves the points.
        start: first points (M, ...) within bounds, in at least float32.
        steps: number of moves; each costs the passes of the move and one forward pass; points are kept if they
            fool the user's own model.

    Returns: x_adv (M, ...), exactly inside budget and bounds, and scores.
    Raises: ValueError if the model returns NaN.
    """
    nearest = _Nearest(
        job.x.clone(), torch.full((job.x.shape[0],), torch.inf, dtype=torch.float32, device=job.x.device)
    )
    at = _Moving.begin(job, start)
    for _ in range(steps):
        at.update(nearest, stop=job.stop)
        at.go_on(move)
        if not at.rows.numel():
            break
    at.update(nearest, stop=job.stop)
    if job.stop == "success":
        return Attempted(nearest.x_adv, torch.where(nearest.distance.isfinite(), torch.inf, -torch.inf))
    return Attempted(job.threat.project(job.x, nearest.x_adv), -nearest.distance)


@dataclass
class _Nearest:
    """The nearest finished point of each row, the input where there is none, and how far it is."""

    x_adv: Tensor
    distance: Tensor

    def keep(self, rows: Tensor, x_adv: Tensor, distance: Tensor) -> None:
        """Stores points of some rows."""
        self.x_adv[rows], self.distance[rows] = x_adv, distance


@dataclass
class _Moving:
    """The rows that still move: their points, and a mask of the finished ones."""

    objective: Objective
    threat: ThreatModel
    lanes: Lanes
    rows: Tensor
    x: Tensor
    x_adv: Tensor
    finished: Tensor

    @staticmethod
    def begin(job: Job, start: Tensor) -> _Moving:
        rows = torch.arange(len(start), device=start.device)
        finished = _finished(job.objective.unconfirmed, start.to(job.x.dtype))
        return _Moving(job.objective, job.threat, job.lanes, rows, job.x, start, finished)

    def update(self, nearest: _Nearest, *, stop: Stop) -> None:
        """Keeps points that are nearer than before, and removes rows that are done by the user's own model."""
        if not bool(self.finished.any()):
            return
        distance = self.threat.norm.size(self.x_adv - self.x).float()
        worth = self.finished & (distance < nearest.distance[self.rows])
        if stop == "success":
            worth &= distance <= _ABOUT * self.threat.radius(self.x).reshape(-1)
        points = worth.nonzero()[:, 0]
        if not points.numel():
            return
        shown = self.x_adv[points].to(self.x.dtype)
        sure = self.objective.take(points).confirmed(shown)
        if stop == "success":
            sure &= self.threat.take(points).contains(self.x[points], shown)
        points, shown = points[sure], shown[sure]
        nearest.keep(self.rows[points], shown, distance[points])
        if stop == "success" and points.numel():
            self.keep(self.lanes.going(torch.zeros_like(self.finished).index_fill(0, points, value=True)))

    def go_on(self, move: Move) -> None:
        """Steps back where points are finished, then moves."""
        if self.rows.numel():
            x, search = self.x.to(self.x_adv.dtype), self.objective.unconfirmed
            self.x_adv = move.onward(search, x, move.back(x, self.x_adv, self.finished))
            self.finished = _finished(search, self.x_adv.to(self.x.dtype))

    def keep(self, rows: Tensor) -> None:
        """Keeps some rows."""
        for name, part in list(vars(self).items()):
            setattr(self, name, part[rows] if isinstance(part, Tensor) else part.take(rows))


def _finished(objective: Objective, x_adv: Tensor) -> Tensor:
    score, finished = objective(x_adv)
    undefined = int(score.isnan().sum())
    if undefined:
        raise ValueError(f"the model returned NaN for {undefined} of {score.numel()} inputs under attack")
    return finished
