"""Runs of a sweep: each result is saved at once, and never computed again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from robustlab.runs import results
from robustlab.runs.progress import Progress, Report
from robustlab.studies.claim_engine.budget import FULL, Budget
from robustlab.studies.sweep.unit import Compute, Trial, Unit, read


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
    progress: Report | None = None
    done: int = 0
    trial: Trial | None = None

    def __call__(self, trial: Trial, compute: Compute) -> Unit:
        """The result of a run.

        Raises: RunError if the directory cannot be written, or belongs to another sweep.
        """
        self.trial = trial
        path = path_of(self.home, trial, self.budget)
        self.report(Progress("", 0, 1))
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

    def report(self, at: Progress) -> None:
        """Reports the progress of all runs, the present one among them; in total as far as can be known."""
        if self.progress is not None and self.trial is not None:
            units = max(self.units, self.done + 1)
            _, part, optimizer, rate, seed, _ = self.trial
            now = f" {at.task} {at.fraction:.0%}" if at.task else ""
            detail = f"{optimizer} at {rate:g}, {part}, seed {seed}{now}"
            self.progress(Progress(self.trial.study, self.done, units, "runs", part, detail))


def path_of(home: Path, trial: Trial, budget: Budget = FULL) -> Path:
    """Path of the result of a run."""
    return (home if budget == FULL else home / budget.name) / trial.study / f"{trial.name}.json"
