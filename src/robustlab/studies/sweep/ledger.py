"""Runs of a sweep, done once: each is kept as soon as it is there, and never done again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from robustlab.studies import filing
from robustlab.studies.claim_engine.budget import FULL, Budget
from robustlab.studies.sweep.unit import Compute, Part, Trial, Unit, read


class At(NamedTuple):
    """How far a sweep is."""

    study: str
    optimizer: str
    part: Part
    rate: float
    seed: int
    done: int
    """Runs that are done, those of earlier sessions among them."""
    units: int
    """In all, as far as can be told: a tuning that has not found its ends takes more."""
    task: str = ""
    """Within this run."""
    share: float = 0.0
    """Of that task, 0..1."""


Show: TypeAlias = Callable[[At], None]


@dataclass
class Ledger:
    """Results in a directory, computed where they are missing.

    Args:
        home: the directory.
        budget: that they are computed with; only those of the full one lie where results are taken from.
        command: that does the same.
        device: its name.
        units: how many runs are expected.
        progress: told how far things are.
    """

    home: Path
    budget: Budget
    command: str
    device: str
    units: int
    progress: Show | None = None
    done: int = 0
    trial: Trial | None = None

    def __call__(self, trial: Trial, compute: Compute) -> Unit:
        """The result of a run.

        Raises: RunError if the directory cannot be written, or holds something else.
        """
        self.trial = trial
        path = path_of(self.home, trial, self.budget)
        self.tell("", 0.0, "")
        unit = read(path, trial)
        if unit is None:
            began = time.perf_counter()
            found = compute()
            spent = round(time.perf_counter() - began, 2)
            named = (trial.study, trial.part, trial.optimizer, trial.rate, trial.seed, self.budget.name)
            unit = Unit(*named, trial.definition, found.metrics, found.passes, spent, self.command, device=self.device)
            filing.write(path, unit)
        self.done += 1
        return unit

    def tell(self, task: str, share: float, said: str) -> None:
        """Says how far the present run is; of the form that a ``Lab`` wants."""
        del said
        if self.progress is not None and self.trial is not None:
            units = max(self.units, self.done + 1)
            _, part, optimizer, rate, seed, _ = self.trial
            self.progress(At(self.trial.study, optimizer, part, rate, seed, self.done, units, task, share))


def path_of(home: Path, trial: Trial, budget: Budget = FULL) -> Path:
    """Where the result of a run is."""
    return (home if budget == FULL else home / budget.name) / trial.study / f"{trial.name}.json"
