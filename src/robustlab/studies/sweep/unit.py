"""One run of a sweep: what it is, what it gave, and where that is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import torch

from robustlab.core import Metrics, RunError
from robustlab.runs.files import json_in
from robustlab.runs.provenance import now
from robustlab.studies import filing
from robustlab.studies.filing import commit, installed

RESULTS = Path(__file__).parent / "results"
"""What the package knows already: one file for each sweep."""
Part: TypeAlias = Literal["tuning", "reported"]


class Trial(NamedTuple):
    """One run that a sweep asks for."""

    study: str
    part: Part
    """Whether it is for choosing a learning rate, or with the one that was chosen."""
    optimizer: str
    rate: float
    seed: int
    definition: str
    """Hash of everything that decides what comes out."""

    @property
    def name(self) -> str:
        """In file names."""
        return f"{self.part}-{self.optimizer}-{self.rate:g}-{self.seed}"


class Found(NamedTuple):
    """What a run gave."""

    metrics: Metrics
    passes: str = ""
    """For attackers: after how many passes each image fell, see ``fallen``."""


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
        definition: hash of what was to be done.
        metrics: what was measured.
        passes: for attackers, after how many passes each image fell.
        seconds: spent on it.
        command: does the same.
        created: when it was done, ISO 8601 in UTC.
        revision: of the source code, if it came from a repository; "modified" if files differed from it.
        threads: that torch computed with.
        device: that it computed on.
        versions: of what it was computed with.
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
        """Whether it is the result of this run, maybe of an earlier definition."""
        mine = (self.study, self.part, self.optimizer, f"{self.rate:g}", self.seed)
        theirs = (trial.study, trial.part, trial.optimizer, f"{trial.rate:g}", trial.seed)
        return mine == theirs and all(isinstance(value, int | float) for value in self.metrics.values())


Compute: TypeAlias = Callable[[], Found]
Get: TypeAlias = Callable[[Trial, Compute], Unit]
"""Finds the result of a run, or computes it."""


class MissingError(LookupError):
    """A result that a sweep needs is not there."""


def read(path: Path, trial: Trial) -> Unit | None:
    """The result of a run in a file of its own; None if there is none that counts.

    Raises: RunError for a damaged file.
    """
    unit = filing.read(path, Unit, "a sweep", lambda unit: unit.belongs_to(trial))
    return unit if unit is not None and unit.definition == trial.definition else None


def published(study: str, home: Path = RESULTS) -> Get:
    """Finds results among those that come with the package, and computes nothing.

    Raises: RunError for a damaged file; what comes back raises MissingError for a result that is not there.
    """
    path = home / f"{study}.json"
    try:
        units = [Unit(**one) for one in cast("list[dict[str, Any]]", json_in(path))] if path.exists() else []
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} holds no results of a sweep: {error}") from error
    kept = {(unit.part, unit.optimizer, f"{unit.rate:g}", unit.seed, unit.definition): unit for unit in units}

    def get(trial: Trial, _: Compute) -> Unit:
        key = (trial.part, trial.optimizer, f"{trial.rate:g}", trial.seed, trial.definition)
        if key not in kept:
            raise MissingError(f"{trial.study} has no result {trial.name}")
        return kept[key]

    return get
