"""The budgeted driver: climbs the score of each example inside its feasible set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, get_args

import torch
from torch import Tensor

from robustlab.attacks.steps import State, Step, taken
from robustlab.core import (
    Model,
    Objective,
    Region,
    Score,
    Stop,
    Streams,
    ThreatModel,
    Twin,
    frozen,
    search_twin,
    targeted,
    untargeted,
)
from robustlab.core.losses import classes_needed
from robustlab.core.rows import all_rows, copy_rows_, kept_rows_

_BLOCK_VALUES, _BLOCK_ROWS = 1 << 22, 256

Start: TypeAlias = Callable[[Tensor, ThreatModel, Streams], Tensor]


def at_input(x: Tensor, threat: ThreatModel, streams: Streams) -> Tensor:
    """Starts at the input itself."""
    del threat, streams
    return x.clone()


def uniform(x: Tensor, threat: ThreatModel, streams: Streams) -> Tensor:
    """Starts anywhere in the ball around the input, maybe out of bounds: the driver projects."""
    return threat.perturbed(x, streams)


def maximise(
    objective: Objective,
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
        objective: what to climb.
        region: where the result may be; it is used up.
        start: first iterates (N, ...) before projection, in at least float32; they are overwritten.
        step: turns gradients into moves.
        steps: number of moves, >= 0; each costs one forward and one backward pass to the input.
        stop: when an example is left alone.

    Returns: x_adv (N, ...), exactly inside budget and bounds.
    Raises: ValueError if the model returns NaN.
    """
    x_adv = region.project_(start)
    search = _Search(objective, region, x_adv, step.init(x_adv), step)
    return search.full_strength(steps) if stop == "never" else search.until_success(steps)


@dataclass
class _Search(Generic[State]):
    """The examples that are still being attacked."""

    objective: Objective
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
            raise ValueError("the model returned NaN during the attack: look at its logits near these inputs")
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
        """Starts with points that nothing is known of."""
        return Best(x_adv.clone(), torch.full((x_adv.shape[0],), -torch.inf, device=x_adv.device))

    def update(self, rows: Tensor, x_adv: Tensor, score: Tensor, finished: Tensor) -> None:
        """Takes over the points that are better.

        Args:
            rows: which examples these are (M,).
            x_adv: their points (M, ...).
            score: of these points (M,).
            finished: whether nothing better can be asked for (M,).

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
    """What a budgeted attack is made of."""

    threat: ThreatModel
    step: Step[Any]
    steps: int
    start: Start
    score: Score


class Planned(Protocol):
    """An attack that the budgeted driver can run."""

    def plan(self) -> Plan:
        """Its parts."""


def run(  # noqa: PLR0913 -- the arguments of every attack, and the attack itself
    self: Planned,
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    target: Tensor | None = None,
    stop: Stop = "success",
    seed: int = 0,
    ids: Tensor | None = None,
) -> Tensor:
    """Runs the attack as ``robustlab.core.Attack`` says."""
    plan = self.plan()
    streams = Streams(seed, checked_inputs(x, y, plan.threat, target=target, ids=ids, stop=stop))
    with prepared(model, x) as (twin, x_in):
        out = torch.empty_like(x, requires_grad=False)
        objective = untargeted(twin, y, plan.score) if target is None else targeted(twin, target, plan.score)
        for rows in _blocks(x_in, plan.threat):
            out[rows] = _searched(plan, objective.take(rows), x_in[rows], streams[rows], stop)
    return out


def _searched(plan: Plan, objective: Objective, x: Tensor, streams: Streams, stop: Stop) -> Tensor:
    region, x = plan.threat.search_region(x), x.to(torch.promote_types(x.dtype, torch.float32))
    start = plan.start(x, plan.threat, streams)
    del x  # it may be a copy, and the search needs it no more
    return maximise(objective, region, start, plan.step, steps=plan.steps, stop=stop)


def _blocks(x: Tensor, threat: ThreatModel) -> Iterator[slice]:
    """The rows that are searched together: all, or parts of a batch so large that fresh memory would cost much time."""
    count = x.shape[0]
    if x.device.type == "cpu" and isinstance(threat.eps, float):
        count = max(_BLOCK_ROWS, _BLOCK_VALUES // max(1, x[0].numel()))
    return (slice(start, start + count) for start in range(0, x.shape[0], count))


@contextmanager
def prepared(model: Model, x: Tensor) -> Iterator[tuple[Twin, Tensor]]:
    """Everything an attack needs around its search: no trace is left, gradients work, the twin is built.

    Args:
        model: the user's own, or a twin of it.
        x: inputs (N, ...).

    Yields: the search twin, and the inputs detached and in the memory layout that it likes best.
    """
    own = model.model if isinstance(model, Twin) else model
    with torch.inference_mode(mode=False), frozen(own):
        x = x.detach().clone() if x.is_inference() else x.detach()
        twin = search_twin(model, x)
        yield twin, x.contiguous(memory_format=torch.channels_last) if twin.distinct and x.ndim == 4 else x


def checked_inputs(
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    target: Tensor | None = None,
    ids: Tensor | None = None,
    stop: Stop = "success",
) -> Tensor:
    """Looks at what is to be attacked, and names the examples.

    Returns: ids (N,), by default 0..N-1.
    Raises: ValueError for an empty batch, inputs that are not floating point, NaN or out of bounds, labels and targets
        that are no class numbers, labels, targets, ids or eps of another number than the inputs, and an unknown stop.
    """
    if x.ndim < 2 or not x.numel():
        raise ValueError(f"inputs must be a batch (N, ...) with N >= 1, got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"inputs must be floating point in {threat.bounds}, got {x.dtype}: for images write x / 255")
    low, high = (float(v) for v in x.detach().aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("inputs contain NaN or infinite values")
    if low < threat.bounds[0] or high > threat.bounds[1]:
        raise ValueError(f"inputs lie in [{low:g}, {high:g}], outside the bounds {threat.bounds} of the threat model")
    for name, given in (("labels", y), ("targets", target), ("ids", ids)):
        if given is not None and given.shape != x.shape[:1]:
            raise ValueError(f"{name} must have shape ({x.shape[0]},) like the inputs, got {tuple(given.shape)}")
    for labels in (y,) if target is None else (y, target):
        classes_needed(labels)
    if stop not in get_args(Stop):
        raise ValueError(f"stop must be 'success' or 'never', got {stop!r}")
    if isinstance(threat.eps, tuple) and len(threat.eps) != x.shape[0]:
        raise ValueError(f"one eps per example: got {len(threat.eps)} for {x.shape[0]} examples")
    return torch.arange(x.shape[0], device=x.device) if ids is None else ids.to(x.device)
