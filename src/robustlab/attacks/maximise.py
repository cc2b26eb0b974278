"""The budgeted driver: climbs the score of each example inside its feasible set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias

import torch
from torch import Tensor

from robustlab.attacks.call import Call
from robustlab.attacks.steps import State, Step, taken
from robustlab.core import Region, Score, Stop, Streams, ThreatModel
from robustlab.core.kinds import typed
from robustlab.core.rows import all_rows, copy_rows_, kept_rows_


class Ascent(Protocol):
    """Something to be climbed: scores of points and their gradients, such as an ``Objective``."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and success of each row, (N,) and (N,) bool."""

    def gradient(self, x: Tensor, *, stop: Stop = "success") -> tuple[Tensor, Tensor, Tensor]:
        """The same, and the gradient of each score by its input in the shape of ``x``."""

    def take(self, rows: Tensor | slice) -> Ascent:
        """The same of some of the examples; ``rows`` is a mask (N,), row numbers or a slice."""


Start: TypeAlias = Callable[[Tensor, ThreatModel, Streams], Tensor]


@typed
def at_input(x: Tensor, threat: ThreatModel, streams: Streams) -> Tensor:
    """Starts at the input itself."""
    del threat, streams
    return x.clone()


@typed
def uniform(x: Tensor, threat: ThreatModel, streams: Streams) -> Tensor:
    """Starts anywhere in the ball around the input, maybe out of bounds: the driver projects."""
    return threat.perturbed(x, streams)


@typed
def maximise(
    objective: Ascent,
    region: Region,
    start: Tensor,
    step: Step[State],
    *,
    steps: int,
    stop: Stop = "success",
) -> Tensor:
    """Repeats: score and gradient of each example; move; project.

    With ``stop="success"`` an example leaves the batch at its first finished iterate, the start and the last one
    included, and one that never finishes returns its iterate of highest score. With ``stop="never"`` all examples do
    all steps, and the last iterate is returned without having been scored.

    Args:
        objective: to be maximised; it defines success.
        region: feasible set of the result; it is modified.
        start: first iterates (N, ...) before projection, in at least float32; they are overwritten.
        step: turns gradients into moves.
        steps: number of moves, >= 0; each costs one forward and one backward pass to the input.
        stop: "success" or "never", as above.

    Returns: x_adv (N, ...), exactly inside budget and bounds.
    Raises: ValueError if the model returns NaN.
    """
    x_adv = region.project_(start)
    search = _Search(objective, region, x_adv, step.init(x_adv), step)
    return search.full_strength(steps) if stop == "never" else search.until_success(steps)


@dataclass
class _Search(Generic[State]):
    """The examples that are still being attacked."""

    objective: Ascent
    region: Region
    x_adv: Tensor
    state: State
    step: Step[State]

    def move(self, grad: Tensor) -> None:
        grad = self.region.inward(self.x_adv, grad.to(self.x_adv.dtype))
        moves, self.state = self.step.update(grad, self.state)
        self.x_adv = self.region.project_(self.x_adv.add_(moves))

    def keep(self, rows: Tensor) -> None:
        """Goes on with the rows of these ascending numbers, in the memory that all rows had."""
        self.objective, self.region = self.objective.take(rows), self.region.keep_(rows)
        self.x_adv, self.state = kept_rows_(self.x_adv, rows), taken(self.state, rows)

    def full_strength(self, steps: int) -> Tensor:
        undefined = torch.zeros((), dtype=torch.bool, device=self.x_adv.device)
        for _ in range(steps):
            score, _, grad = self.objective.gradient(self.region.shown(self.x_adv), stop="never")
            undefined |= score.isnan().any()
            self.move(grad)
        if bool(undefined):
            raise ValueError("the model returned NaN during the attack: check its logits near these inputs")
        return self.region.shown(self.x_adv)

    def until_success(self, steps: int) -> Tensor:
        shown = self.region.shown(self.x_adv)
        best, rows = Best.of(shown), all_rows(shown)
        for _ in range(steps):
            score, finished, grad = self.objective.gradient(shown)
            best.update(rows, shown, score, finished)
            dropped = int(finished.sum())
            if dropped == rows.numel():
                return best.x_adv
            if dropped:
                going = (~finished).nonzero()[:, 0]
                rows, grad = rows[going], kept_rows_(grad, going)
                self.keep(going)
            self.move(grad)
            del grad
            shown = self.region.shown(self.x_adv)
        best.update(rows, shown, *self.objective(shown))
        return best.x_adv


@dataclass
class Best:
    """The best point of each example so far: a finished one, else that of highest score."""

    x_adv: Tensor
    score: Tensor

    @staticmethod
    def of(x_adv: Tensor) -> Best:
        """Points without a score."""
        return Best(x_adv.clone(), torch.full((x_adv.shape[0],), -torch.inf, dtype=torch.float32, device=x_adv.device))

    def update(self, rows: Tensor, x_adv: Tensor, score: Tensor, finished: Tensor) -> None:
        """Keeps the points that are better.

        Args:
            rows: numbers of the examples (M,).
            x_adv: their points (M, ...).
            score: of these points (M,).
            finished: True for a success (M,).

        Raises: ValueError if a score is NaN.
        """
        undefined = int(score.isnan().sum())
        if undefined:
            raise ValueError(f"the model returned NaN for {undefined} of {score.numel()} inputs under attack")
        score = score.float().clamp_max(torch.finfo(torch.float32).max).masked_fill(finished, torch.inf)
        better = (score > self.score[rows]).nonzero()[:, 0]
        self.score[rows[better]] = score[better]
        copy_rows_(self.x_adv, rows[better], x_adv, better)


@dataclass(frozen=True)
class Plan:
    """Parts of a budgeted attack."""

    threat: ThreatModel
    step: Step[Any]
    steps: int
    start: Start
    score: Score

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        region, x = self.threat.search_region(call.x), call.x.to(torch.promote_types(call.x.dtype, torch.float32))
        start = self.start(x, self.threat, call.streams)
        del x  # it may be a copy, and the search needs it no more
        return maximise(call.objective(self.score), region, start, self.step, steps=self.steps, stop=call.stop)


class Planned(Protocol):
    """An attack that the budgeted driver can run."""

    def plan(self) -> Plan:
        """Its parts."""


def search(self: Planned, call: Call) -> Tensor:
    """The adversarial inputs (N, ...) of a call, by the attack's plan."""
    return self.plan().search(call)
