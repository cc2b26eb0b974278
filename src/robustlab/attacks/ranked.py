"""Attacks towards each of an example's likeliest wrong classes: their choice, their order and their best result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from robustlab.attacks.call import Call
from robustlab.attacks.maximise import Best
from robustlab.core import (
    Logits,
    Objective,
    Score,
    Scores,
    Stop,
    Streams,
    ThreatModel,
    Twin,
    at_target,
    margin,
    misclassified,
)
from robustlab.core.losses import answerable, finite_logits, over_spread

_ROWS = 128  # attempts that share a batch: enough to keep a processor busy


@dataclass(frozen=True)
class Lanes:
    """Assignment of the rows of a batch to examples, with the order of the attempts at each example.

    An attempt is called off once an earlier one at the same example has succeeded: the result is then the same as if
    the attempts had been made one after another.

    Args:
        example: the example of each row (M,).
        rank: of each row among the attempts at its example (M,).
        first: lowest rank that has succeeded, for each example (N,).
    """

    example: Tensor
    rank: Tensor
    first: Tensor

    @staticmethod
    def of(examples: int, attempts: int, device: torch.device) -> Lanes:
        """Rows for so many attempts at each example, those at one example next to each other."""
        example = torch.arange(examples, device=device)
        return Lanes(
            example.repeat_interleave(attempts),
            torch.arange(attempts, device=device).repeat(examples),
            torch.full_like(example, attempts),
        )

    def going(self, finished: Tensor) -> Tensor:
        """The rows (K,) that go on after these have finished (M,)."""
        self.first.scatter_reduce_(0, self.example[finished], self.rank[finished], "amin")
        return (self.rank < self.first[self.example]).nonzero()[:, 0]

    def take(self, rows: Tensor) -> Lanes:
        """The lanes of some of the rows."""
        return Lanes(self.example[rows], self.rank[rows], self.first)


class Job(NamedTuple):
    """A batch of attempts, one row each."""

    objective: Objective
    x: Tensor
    """Inputs (M, ...)."""
    threat: ThreatModel
    """Threat model of these inputs."""
    streams: Streams
    """Random draws, of each row its own."""
    stop: Stop
    lanes: Lanes

    @staticmethod
    def of(call: Call, objective: Objective) -> Job:
        """One attempt at each example of a call."""
        lanes = Lanes.of(call.x.shape[0], 1, call.x.device)
        return Job(objective, call.x, call.threat, call.streams, call.stop, lanes)


class Attempted(NamedTuple):
    """Result of a job."""

    x_adv: Tensor
    """The best point of each row (M, ...)."""
    score: Tensor
    """Scores of these points (M,): infinite where finished, -infinite where called off."""


Attempt: TypeAlias = Callable[[Job], Attempted]


def towards_likely(call: Call, attempt: Attempt, score: Score, *, targets: int) -> Tensor:
    """Attacks towards the likeliest wrong classes, or towards the target of the call alone if there is one.

    Args:
        call: with ``stop="success"``, misclassified inputs come back unchanged.
        attempt: does one job, in which the truth of each row is its label and its target.
        score: from logits and truth (N, 2), label and target, to scores.
        targets: largest number of classes.

    Returns: x_adv (N, ...).
    """
    likely, wrong = _likely(call.twin, call.x, call.y, targets)
    if call.target is not None:
        likely, wrong = call.target[:, None], torch.zeros_like(wrong)
    pairs = _pairs(call.twin, call.y, likely, score, strict=call.target is not None)
    rows = (~wrong if call.stop == "success" else torch.ones_like(wrong)).nonzero()[:, 0]
    return _each_in_turn(attempt, Job.of(call, call.watched(pairs)), likely, rows)


def _each_in_turn(attempt: Attempt, job: Job, targets: Tensor, rows: Tensor) -> Tensor:
    """Tries the targets (N, T) in their order, until the first -1; few examples take several of them at once."""
    best, tried = Best.of(job.x), 0
    counts = (targets >= 0).sum(dim=1)
    while (rows := rows[counts[rows] > tried]).numel():
        width = min(int(counts[rows].min()) - tried, max(1, _room(job.objective.twin) // rows.numel()))
        found = attempt(_part(job, rows, targets, tried, width))
        chosen = _chosen(found.score.reshape(-1, width))
        score = found.score[chosen]
        finished = score.isposinf()
        best.update(rows, found.x_adv[chosen], score, finished)
        rows = rows[~finished] if job.stop == "success" else rows
        tried += width
    return best.x_adv


def _part(job: Job, rows: Tensor, targets: Tensor, tried: int, width: int) -> Job:
    """The next few targets of some of the examples."""
    lanes = Lanes.of(rows.numel(), width, rows.device)
    examples, number = rows[lanes.example], tried + lanes.rank
    truth = torch.stack([job.objective.truth[examples, 0], targets[examples, number]], dim=1)
    objective = replace(job.objective.take(examples), truth=truth)
    # Draws follow example and target, in whatever batch they are.
    ids = job.streams.take(examples).fork(0x7A46E7).words(1)[:, 0] + number * 0x5851F42D4C957F2D
    streams = Streams(job.streams.seed, ids)
    return Job(objective, job.x[examples], job.threat.take(examples), streams, job.stop, lanes)


def _chosen(score: Tensor) -> Tensor:
    """The row of each example's first finished attempt, else of that with the highest score, (N,) of scores (N, W)."""
    finished = score.isposinf()
    place = torch.where(finished.any(dim=1), finished.int().argmax(dim=1), score.argmax(dim=1))
    return place + score.shape[1] * torch.arange(score.shape[0], device=score.device)


def _room(twin: Twin) -> int:
    """Largest useful number of rows in one batch: at most one micro-batch of a big network."""
    return _ROWS if twin.rows is None else min(_ROWS, twin.rows)


def _likely(twin: Twin, x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Wrong classes of highest logit by the user's own model (N, T), T <= K - 1; mask of misclassified inputs (N,).

    Classes that the model cannot answer are no targets: where there are fewer than T others, the rest are -1.
    """
    with torch.no_grad():
        logits = torch.cat([twin(part) for part in twin.split(x.clone())])
    classes = logits.shape[1]
    if y.numel() and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise ValueError(f"labels must be class numbers 0..{classes - 1}, got {int(y.min())}..{int(y.max())}")
    own = torch.nn.functional.one_hot(y, classes).to(torch.bool)
    wrong = finite_logits(logits).masked_fill(own, -torch.inf)
    likely = wrong.topk(min(count, classes - 1), dim=1).indices
    return likely.where(answerable(logits).gather(1, likely), -1), misclassified(logits, y)


def _pairs(twin: Twin, y: Tensor, targets: Tensor, score: Score, *, strict: bool) -> Objective:
    """Maximises a score of label and first target; success is any wrong class, or if strict the target alone."""
    classes = int(torch.maximum(y.max(), targets.max())) + 1
    return Objective(twin, torch.stack([y, targets[:, 0]], dim=1), score, _there if strict else _wrong, classes)


def _wrong(logits: Logits, truth: Tensor) -> Tensor:
    return misclassified(logits, truth[:, 0])


def _there(logits: Logits, truth: Tensor) -> Tensor:
    return at_target(logits, truth[:, 1])


@Score
def gap(logits: Logits, truth: Tensor) -> Scores:
    """Logit of the target class minus that of the label.

        z_t - z_y

    Args:
        logits: (N, K), any float dtype.
        truth: labels and targets (N, 2), int64.

    Returns: scores (N,), in units of the logits.
    """
    label, target = finite_logits(logits).gather(1, truth).unbind(1)
    return target - label


@Score
def ahead(logits: Logits, truth: Tensor) -> Scores:
    """Logit of the target class minus the largest other one, (N,); positive where the target is reached.

        z_t - max_{i != t} z_i

    Args:
        logits: (N, K), any float dtype.
        truth: labels and targets (N, 2), int64.
    """
    return -margin(logits, truth[:, 1])


@Score
def targeted_dlr(logits: Logits, truth: Tensor) -> Scores:
    """Difference of logits ratio towards a target.

        (z_t - z_y) / (z_p1 - (z_p3 + z_p4) / 2 + 1e-12),   z_p1 >= z_p2 >= z_p3 ...

    With three classes the denominator is z_p1 - z_p3; with two it would leave a constant, and there is none. Masked
    classes do not count, example by example.

    Args:
        logits: (N, K), any float dtype.
        truth: labels and targets (N, 2), int64.

    Returns: scores (N,).
    Source: Croce, Hein, Reliable Evaluation of Adversarial Robustness ..., ICML 2020, equation 7, which needs four
    classes.
    """
    difference = gap(logits, truth)
    return difference if logits.shape[1] < 3 else over_spread(difference, logits, 4)
