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

    def onward(self, objective: Objective, x: Tensor, x_adv: Tensor) -> tuple[Tensor, Tensor]:
        """The next points, and whether those to look from are finished by the search model (M,)."""


def approach(job: Job, move: Move, start: Tensor, *, steps: int) -> Attempted:
    """Repeats: move; score; keep the nearest finished point of each row.

    With ``stop="success"`` a row leaves when a finished point is within the budget. A row that never has one returns
    the better, by score, of its input and its nearest finished point drawn back into the budget. With ``stop="never"``
    all do all steps, and the nearest finished point is returned, drawn back into the budget if it is too far, or the
    input if there is none; the score is then minus the distance.

    Args:
        job: what to look for; its objective says what is finished.
        move: how to get nearer.
        start: first points (M, ...) within bounds, in at least float32.
        steps: number of moves; each costs what the move costs, and one forward pass.

    Returns: x_adv (M, ...), exactly inside budget and bounds, and scores.
    Raises: ValueError if the model returns NaN.
    """
    nearest = _Nearest.of(job.x)
    at = _Way.begin(job, start)
    for _ in range(steps):
        at.settle(nearest, stop=job.stop)
        at.look_ahead(move)
        at.settle(nearest, stop=job.stop)
        at.go_on()
        if not at.rows.numel():
            break
    at.settle(nearest, stop=job.stop)
    return _scored(job, nearest) if job.stop == "success" else _drawn_back(job, nearest)


@dataclass
class _Nearest:
    """The nearest finished point of each row, and whether that was within the budget."""

    x_adv: Tensor
    distance: Tensor
    inside: Tensor

    @staticmethod
    def of(x: Tensor) -> _Nearest:
        unknown = torch.full((x.shape[0],), torch.inf, device=x.device)
        return _Nearest(x.clone(), unknown, torch.zeros_like(unknown, dtype=torch.bool))

    def keep(self, rows: Tensor, x_adv: Tensor, distance: Tensor) -> None:
        """Takes over points of some rows."""
        self.x_adv[rows], self.distance[rows] = x_adv, distance


@dataclass
class _Way:
    """The rows that are still on their way: where they are, whether that is finished, and where they go next."""

    objective: Objective
    threat: ThreatModel
    lanes: Lanes
    rows: Tensor
    x: Tensor
    x_adv: Tensor
    finished: Tensor
    ahead: Tensor

    @staticmethod
    def begin(job: Job, start: Tensor) -> _Way:
        rows = torch.arange(len(start), device=start.device)
        finished = _finished(job.objective.unconfirmed, start.to(job.x.dtype))
        return _Way(job.objective, job.threat, job.lanes, rows, job.x, start, finished, start)

    def settle(self, nearest: _Nearest, *, stop: Stop) -> None:
        """Keeps what is nearer than before, and sets aside what is near enough by the user's own model."""
        if not bool(self.finished.any()):
            return
        distance = self.threat.norm.size(self.x_adv - self.x).float()
        nearer = (self.finished & (distance < nearest.distance[self.rows])).nonzero()[:, 0]
        shown, rows = self.x_adv[nearer].to(self.x.dtype), self.rows[nearer]
        if stop == "never":
            sure = self.objective.take(nearer).confirmed(shown)
            nearest.keep(rows[sure], shown[sure], distance[nearer[sure]])
            return
        nearest.keep(rows, shown, distance[nearer])
        inside = distance[nearer] <= _ABOUT * self.threat.take(nearer).radius(self.x[nearer]).reshape(-1)
        if not bool(inside.any()):
            return
        near = nearer[inside]
        inside[inside.clone()] = self.threat.take(near).contains(self.x[near], shown[inside])
        inside[inside.clone()] = self.objective.take(nearer[inside]).confirmed(shown[inside])
        if bool(inside.any()):
            nearest.inside[rows[inside]] = True
            self.keep(self.lanes.going(torch.zeros_like(self.finished).index_fill(0, nearer[inside], value=True)))

    def look_ahead(self, move: Move) -> None:
        """Steps back where that is due, and looks at what is ahead from there."""
        if self.rows.numel():
            x = self.x.to(self.x_adv.dtype)
            self.x_adv = move.back(x, self.x_adv, self.finished)
            self.ahead, self.finished = move.onward(self.objective.unconfirmed, x, self.x_adv)

    def go_on(self) -> None:
        if self.rows.numel():
            self.x_adv = self.ahead
            self.finished = _finished(self.objective.unconfirmed, self.x_adv.to(self.x.dtype))

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


def _scored(job: Job, nearest: _Nearest) -> Attempted:
    """The points within the budget that were found; for other rows the better of two feasible points."""
    score = torch.full_like(nearest.distance, torch.inf)
    rows = (~nearest.inside).nonzero()[:, 0]
    if rows.numel():
        x, objective = job.x[rows], job.objective.take(rows)
        drawn_back = job.threat.take(rows).project(x, nearest.x_adv[rows])
        there, finished = objective(drawn_back)
        there, here = there.float().masked_fill(finished, torch.inf), objective(x)[0].float()
        better = (there > here).reshape(-1, *[1] * (x.ndim - 1))
        nearest.x_adv[rows], score[rows] = torch.where(better, drawn_back, x), torch.maximum(there, here)
    return Attempted(nearest.x_adv, score)


def _drawn_back(job: Job, nearest: _Nearest) -> Attempted:
    return Attempted(job.threat.project(job.x, nearest.x_adv), -nearest.distance)
