"""Runs of a sweep: each result is saved at once, and never computed again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from robustlab.runs import results
from robustlab.studies.claim_engine.budget import FULL, Budget
from robustlab.studies.sweep.unit import Compute, Part, Trial, Unit, read


class At(NamedTuple):
    """Progress of a sweep."""

    study: str
    optimizer: str
    part: Part
    rate: float
    seed: int
    done: int
    """Finished runs, including those of earlier sessions."""
    units: int
    """Expected number of runs: a tuning with open ends takes more."""
    task: str = ""
    """Current task of the run."""
    share: float = 0.0
    """Finished fraction of that task, 0..1."""


Show: TypeAlias = Callable[[At], None]


@dataclass
class Ledger:
    """Results in a directory, computed where they are missing.

    Args:
        home: the directory.
        budget: of the runs; results of other budgets than the full one have a folder of their own.
        command: the equal command line.
        device: its name.
        units: expected number of runs.
        progress: is called with the progress.
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

        Raises: RunError if the directory cannot be written, or belongs to another sweep.
        """
        self.trial = trial
        path = path_of(self.home, trial, self.budget)
        self.report("", 0.0, "")
        unit = read(path, trial)
        if unit is None:
            began = time.perf_counter()
            found = compute()
            spent = round(time.perf_counter() - began, 2)
            named = (trial.study, trial.part, trial.optimizer, trial.rate, trial.seed, self.budget.name)
            unit = Unit(*named, trial.definition, found.metrics, found.passes, spent, self.command, device=self.device)
            results.write(path, unit)
        self.done += 1
        return unit

    def report(self, task: str, fraction: float, text: str) -> None:
        """Reports the progress of the current run, with the arguments of a ``Lab``."""
        del text
        if self.progress is not None and self.trial is not None:
            units = max(self.units, self.done + 1)
            _, part, optimizer, rate, seed, _ = self.trial
            self.progress(At(self.trial.study, optimizer, part, rate, seed, self.done, units, task, fraction))


def path_of(home: Path, trial: Trial, budget: Budget = FULL) -> Path:
    """Path of the result of a run."""
    return (home if budget == FULL else home / budget.name) / trial.study / f"{trial.name}.json"
