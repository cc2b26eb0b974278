"""The smallest-norm driver: looks for the wrong point that is nearest to each input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from robustlab.attacks.ranked import Attempted, Job, Lanes
from robustlab.core import Objective, Stop, ThreatModel

_ABOUT = 1 + 1e-3  # what is clearly beyond the budget need not be measured exactly


class Move(Protocol):
    """How to get nearer; all tensors are of the same rows, and points of at least float32."""

    def back(self, x: Tensor, x_adv: Tensor, finished: Tensor) -> Tensor:
        """Where to look from, given inputs, points and which of them are finished."""

    def onward(self, objective: Objective, x: Tensor, x_adv: Tensor) -> Tensor:
        """The next points."""


def approach(job: Job, move: Move, start: Tensor, *, steps: int) -> Attempted:
    """Repeats: move; ask; keep the nearest finished point of each row.

    With ``stop="success"`` a row leaves when a finished point is within the budget, and one that never has one returns
    its input: drawn back into the budget, a point from beyond is wrong now and then, but that is not what is known as
    the success of such an attack. With ``stop="never"`` all do all steps, and the nearest finished point is returned,
    drawn back into the budget if it is too far, or the input if there is none. Where a move looks from is not asked
    about, as in the released code of FAB.

    Args:
        job: what to look for; its objective says what is finished.
        move: how to get nearer.
        start: first points (M, ...) within bounds, in at least float32.
        steps: number of moves; each costs what the move costs, and one forward pass; the user's own model is asked
            about what would be kept.

    Returns: x_adv (M, ...), exactly inside budget and bounds, and scores.
    Raises: ValueError if the model returns NaN.
    """
    nearest = _Nearest(
        job.x.clone(), torch.full((job.x.shape[0],), torch.inf, dtype=torch.float32, device=job.x.device)
    )
    at = _Way.begin(job, start)
    for _ in range(steps):
        at.settle(nearest, stop=job.stop)
        at.go_on(move)
        if not at.rows.numel():
            break
    at.settle(nearest, stop=job.stop)
    if job.stop == "success":
        return Attempted(nearest.x_adv, torch.where(nearest.distance.isfinite(), torch.inf, -torch.inf))
    return Attempted(job.threat.project(job.x, nearest.x_adv), -nearest.distance)


@dataclass
class _Nearest:
    """The nearest finished point of each row, the input where there is none, and how far it is."""

    x_adv: Tensor
    distance: Tensor

    def keep(self, rows: Tensor, x_adv: Tensor, distance: Tensor) -> None:
        """Takes over points of some rows."""
        self.x_adv[rows], self.distance[rows] = x_adv, distance


@dataclass
class _Way:
    """The rows that are still on their way: where they are, and whether that is finished."""

    objective: Objective
    threat: ThreatModel
    lanes: Lanes
    rows: Tensor
    x: Tensor
    x_adv: Tensor
    finished: Tensor

    @staticmethod
    def begin(job: Job, start: Tensor) -> _Way:
        rows = torch.arange(len(start), device=start.device)
        finished = _finished(job.objective.unconfirmed, start.to(job.x.dtype))
        return _Way(job.objective, job.threat, job.lanes, rows, job.x, start, finished)

    def settle(self, nearest: _Nearest, *, stop: Stop) -> None:
        """Keeps what is nearer than before, and sets aside what is near enough by the user's own model."""
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
        """Steps back where that is due, and to what is ahead from there."""
        if self.rows.numel():
            x, search = self.x.to(self.x_adv.dtype), self.objective.unconfirmed
            self.x_adv = move.onward(search, x, move.back(x, self.x_adv, self.finished))
            self.finished = _finished(search, self.x_adv.to(self.x.dtype))

    def keep(self, rows: Tensor) -> None:
        """Goes on with some rows."""
        for name, part in list(vars(self).items()):
            setattr(self, name, part[rows] if isinstance(part, Tensor) else part.take(rows))


def _finished(objective: Objective, x_adv: Tensor) -> Tensor:
    score, finished = objective(x_adv)
    undefined = int(score.isnan().sum())
    if undefined:
        raise ValueError(f"the model returned NaN for {undefined} of {score.numel()} inputs under attack")
    return finished
