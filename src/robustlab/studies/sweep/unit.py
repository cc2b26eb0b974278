"""One run of a sweep: its settings, its result and its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import torch

from robustlab.core import Metrics
from robustlab.runs import results
from robustlab.runs.provenance import commit, installed, now

RESULTS = Path(__file__).parent / "results"
"""Folder of the published results: one file per sweep."""
Part: TypeAlias = Literal["tuning", "reported"]


class Trial(NamedTuple):
    """One run of a sweep."""

    study: str
    part: Part
    """Part of the sweep: choice of a learning rate, or results with the chosen one."""
    optimizer: str
    rate: float
    seed: int
    definition: str
    """Hash of everything that decides what comes out."""

    @property
    def name(self) -> str:
        """Name in files."""
        return f"{self.part}-{self.optimizer}-{self.rate:g}-{self.seed}"


class Found(NamedTuple):
    """Result of a run."""

    metrics: Metrics
    passes: str = ""
    """For attackers: number of passes until each image is fooled, as from ``attackers``."""


@dataclass(frozen=True)
class Unit:
    """The result of one run.

    Args:
        study: the sweep.
        part: "tuning" or "reported".
        optimizer: its name.
        rate: learning rate, or step size.
        seed: of everything random.
        budget: its name.
        definition: hash of the definition.
        metrics: measured numbers.
        passes: for attackers, number of passes until each image is fooled.
        seconds: of the run.
        command: the equal command line.
        created: time, ISO 8601 in UTC.
        revision: of the source code, if it came from a repository; "modified" if files differed from it.
        threads: of torch.
        device: of the computation.
        versions: of the packages.
    """

    study: str
    part: Part
    optimizer: str
    rate: float
    seed: int
    budget: str
    definition: str
    metrics: Metrics
    passes: str
    seconds: float
    command: str
    created: str = field(default_factory=now)
    revision: str = field(default_factory=commit)
    threads: int = field(default_factory=torch.get_num_threads)
    device: str = "cpu"
    versions: dict[str, str] = field(default_factory=installed)

    def belongs_to(self, trial: Trial) -> bool:
        """True for a result of this run, maybe with an earlier definition."""
        mine = (self.study, self.part, self.optimizer, f"{self.rate:g}", self.seed)
        theirs = (trial.study, trial.part, trial.optimizer, f"{trial.rate:g}", trial.seed)
        return mine == theirs and all(isinstance(value, int | float) for value in self.metrics.values())


Compute: TypeAlias = Callable[[], Found]
Get: TypeAlias = Callable[[Trial, Compute], Unit]
"""Finds the result of a run, or computes it."""


class MissingError(LookupError):
    """A result of a sweep is missing."""


def read(path: Path, trial: Trial) -> Unit | None:
    """The result of a run in its own file; None if there is none of this definition.

    Raises: RunError for a damaged file.
    """
    unit = results.read(path, Unit, "a sweep", lambda unit: unit.belongs_to(trial))
    return unit if unit is not None and unit.definition == trial.definition else None


def published(study: str, home: Path = RESULTS) -> Get:
    """Reader of published results, which computes nothing.

    Raises: RunError for a damaged file; the reader raises MissingError for a missing result.
    """
    path = home / f"{study}.json"
    units = results.read_list(path, Unit, "a sweep")
    kept = {(unit.part, unit.optimizer, f"{unit.rate:g}", unit.seed, unit.definition): unit for unit in units}

    def get(trial: Trial, _: Compute) -> Unit:
        key = (trial.part, trial.optimizer, f"{trial.rate:g}", trial.seed, trial.definition)
        if key not in kept:
            raise MissingError(f"{trial.study} has no result {trial.name}")
        return kept[key]

    return get
