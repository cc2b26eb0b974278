"""The query driver: random search that needs scores only, no gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from robustlab.attacks.maximise import Best
from robustlab.core import Objective, Stop


class Proposals(Protocol):
    """Source of new points, given the best ones so far."""

    def propose(self, x_best: Tensor, query: int) -> Tensor:
        """New points (N, ...), inside budget and bounds, for the best ones so far and the number of the query."""

    def take(self, rows: Tensor) -> Self:
        """The proposals for some of the examples, by row numbers."""


def random_search(objective: Objective, proposals: Proposals, start: Tensor, *, queries: int, stop: Stop) -> Tensor:
    """Repeats: propose a point for each example, score it, keep it if it is better.

    Args:
        objective: objective to maximise.
        proposals: source of new points.
        start: first points (N, ...), inside budget and bounds; they cost one query more.
        queries: number of proposals, one forward pass each.
        stop: "success": an example leaves at its first finished point; "never": none does.

    Returns: x_adv (N, ...): the first finished point of each example, else that of highest score.
    Raises: ValueError if the model returns NaN.
    """
    best = Best.of(start)
    at = _Search(objective, proposals, torch.arange(start.shape[0], device=start.device), start, best.score.clone())
    at.weigh(start, best, stop=stop)
    for query in range(queries):
        if not at.rows.numel():
            break
        at.weigh(at.proposals.propose(at.x_best, query), best, stop=stop)
    best.update(at.rows, at.x_best, at.score, torch.zeros_like(at.rows, dtype=torch.bool))
    return best.x_adv


@dataclass
class _Search:
    """The examples that are still being attacked."""

    objective: Objective
    proposals: Proposals
    rows: Tensor
    x_best: Tensor
    score: Tensor

    def weigh(self, x: Tensor, best: Best, *, stop: Stop) -> None:
        """Keeps better points, and removes finished examples."""
        score, finished = self.objective(x)
        undefined = int(score.isnan().sum())
        if undefined:
            raise ValueError(f"the model returned NaN for {undefined} of {score.numel()} inputs under attack")
        better = score > self.score
        if bool(better.any()):  # most queries fail, and on a CPU the check costs little
            self.score = torch.where(better, score, self.score)
            self.x_best = torch.where(better.reshape(-1, *[1] * (x.ndim - 1)), x, self.x_best)
        if stop == "success" and bool(finished.any()):
            best.update(self.rows[finished], x[finished], score[finished], finished[finished])
            self.keep((~finished).nonzero()[:, 0])

    def keep(self, rows: Tensor) -> None:
        """Keeps some rows."""
        self.objective, self.proposals = self.objective.take(rows), self.proposals.take(rows)
        self.rows, self.x_best, self.score = self.rows[rows], self.x_best[rows], self.score[rows]
