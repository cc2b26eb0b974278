"""Progress of an evaluation and the time left, reported after every batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from robustlab.attacks.facts import passes_needed
from robustlab.core.words import budget
from robustlab.evaluation.plan import CLEAN, RECHECKED, Entry, Phase
from robustlab.evaluation.queries import Reader, spent
from robustlab.evaluation.store import Cost
from robustlab.runs.progress import Progress, Report

_ATTACKS = 0.95  # of the whole; the rest is the doctor's, whose probes are few and are not counted


class PhaseProgress(NamedTuple):
    """Progress of one pass over some examples."""

    phase: Phase
    name: str
    """Name of the attack."""
    part: int
    """Position among the attack's parts."""
    done: int
    total: int
    fooled: int
    """Fooled among those done."""


@dataclass
class Pace:
    """Account of the passes and seconds that were spent.

    The fraction is by passes of single examples through the model, forward and backward counted alike, since the stages
    of a suite cost between one step and thousands of queries: spent / (spent + left). What is left is an upper
    bound: every example that is still robust goes through all that follows, to its last step
    (``passes_needed``). So the fraction only grows, and faster if more are fooled. Seconds left are the passes left at
    the speed of the present phase, and for later ones at that of all so far; they are a bound in the same way.

    Args:
        plan: the attacks that will be run.
        classes: of the model.
        reported: called after every batch; None: nothing is reported.
        doctor: whether the doctor comes at the end.
        processes: how many work at the same time.
    """

    plan: Sequence[Entry]
    classes: int
    reported: Report | None
    doctor: bool
    processes: int = 1
    correct: int = field(default=0, init=False)
    """Examples that are attacked at all."""
    still_robust: int = field(default=0, init=False)
    """Examples that the present attack has not fooled after its last phase."""
    spent: float = field(default=0.0, init=False)
    seconds: float = field(default=0.0, init=False)
    fraction: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.weights = [
            tuple(passes_needed(p.attack, self.classes) for p in entry.parts(entry.eps[0], 0)) for entry in self.plan
        ]
        self.here = (0.0, 0.0)

    def resume(self, reader: Reader) -> None:
        """Counts the passes of earlier sessions."""
        self.spent, self.seconds = spent(reader)

    def enter(self) -> None:
        """Begins a phase."""
        self.here = (0.0, 0.0)

    def add(self, phase: Phase, cost: Cost) -> None:
        """Counts a batch."""
        if phase == CLEAN:
            return
        passes = float(cost.forward + cost.backward)
        self.here = (self.here[0] + passes, self.here[1] + cost.seconds)
        self.spent, self.seconds = self.spent + passes, self.seconds + cost.seconds

    def report(self, at: PhaseProgress) -> None:
        """Reports the progress of the run."""
        if self.reported is None:
            return
        clean = at.phase == CLEAN
        here, later = self._left(at)
        fraction = self.spent / (self.spent + here + later) if self.spent + here + later else 1.0
        self.fraction = max(self.fraction, fraction * (_ATTACKS if self.doctor else 1.0))
        stage = "" if clean or len(self.weights[at.phase.attack]) == 1 else self._stage(at)
        rechecked = at.phase.kind == "recheck"
        robust = self.still_robust if rechecked else at.total - at.fooled
        metrics = {} if clean else {"eps": at.phase.eps, "rechecked": float(rechecked)}
        self.reported(
            Progress(
                at.name,
                at.done,
                at.total,
                "examples",
                stage,
                at.name if clean else _detail(at, stage),
                self.fraction,
                math.nan if clean else self._seconds(here, later),
                {**metrics, "fooled": float(at.fooled), "robust": float(robust)},
            )
        )

    def finish(self, done: int) -> None:
        """Reports that the doctor is at work, or has finished."""
        self.fraction = 1.0 if done else self.fraction
        if self.reported is not None:
            self.reported(Progress("doctor", done, 1, detail="doctor", overall=self.fraction))

    def _stage(self, at: PhaseProgress) -> str:
        return self.plan[at.phase.attack].parts(at.phase.eps, 0)[at.part].name

    def _left(self, at: PhaseProgress) -> tuple[float, float]:
        """Passes that this phase and all later ones may still take."""
        attack, kind = at.phase.attack, at.phase.kind
        if attack < 0:
            self.correct = at.total - at.fooled
        elif kind == "run":
            self.still_robust = at.total - at.fooled
        later = sum(self._whole(number) for number in range(attack + 1, len(self.plan)))
        if attack < 0:
            return 0.0, later
        weights, entry = self.weights[attack], self.plan[attack]
        more = len(entry.eps) - 1 - entry.eps.index(at.phase.eps)
        checks = more + (kind == "run" and entry.eps[0] != at.phase.eps)
        later += sum(weights[at.part + 1 :]) * (at.total - at.fooled)
        later += more * sum(weights) * self.still_robust
        later += checks * weights[0] * min(RECHECKED, self.correct - self.still_robust)
        return float(weights[at.part] * (at.total - at.done)), later

    def _whole(self, number: int) -> float:
        """Passes of an attack at all its eps if it fools no example."""
        return float(sum(self.weights[number]) * len(self.plan[number].eps) * self.correct)

    def _seconds(self, here: float, later: float) -> float:
        """Seconds for so many passes in this phase and in later ones; NaN before anything was measured."""
        if not self.spent:
            return math.nan
        overall = self.seconds / self.spent
        own = self.here[1] / self.here[0] if self.here[0] else overall
        return (here * own + later * overall) / self.processes


def _detail(at: PhaseProgress, stage: str) -> str:
    """Attack, eps and stage, and the examples that it fooled so far."""
    words = [
        at.name,
        f"eps {budget(at.phase.eps)}",
        "recheck" if at.phase.kind == "recheck" else "",
        stage,
    ]
    return f"{', '.join(filter(None, words))}: {at.done}/{at.total}, {at.fooled} fooled"
