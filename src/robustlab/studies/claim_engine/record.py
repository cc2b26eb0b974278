"""Results on disk: one JSON file for each arm and seed of a claim, written in one step when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from robustlab.core import Metrics
from robustlab.runs import results
from robustlab.runs.provenance import commit, installed, now
from robustlab.studies.claim_engine.budget import FULL, Budget
from robustlab.studies.claim_engine.claim import Arm, Claim

PUBLISHED = Path(__file__).parents[1] / "claims" / "results"
"""Results in the package."""


@dataclass(frozen=True)
class Unit:
    """Result of one arm of a claim with one seed.

    Args:
        claim: its name.
        arm: its name.
        seed: of everything random.
        budget: its name.
        definition: hash of the experiment and of the expected effects.
        metrics: the measured numbers.
        training_seconds: spent on training the network, for this or for another claim.
        measuring_seconds: spent on measuring it.
        command: that repeats it.
        created: when it was done, ISO 8601 in UTC.
        revision: of the source code, if it came from a repository; "modified" if files differed from it.
        threads: of torch.
        device: that computed.
        versions: of the packages.
        precision: of training; "" in results whose definition holds it.
    """

    claim: str
    arm: str
    seed: int
    budget: str
    definition: str
    metrics: Metrics
    training_seconds: float
    measuring_seconds: float
    command: str
    created: str = field(default_factory=now)
    revision: str = field(default_factory=commit)
    threads: int = field(default_factory=torch.get_num_threads)
    device: str = "cpu"
    versions: dict[str, str] = field(default_factory=installed)
    precision: str = ""


def path_of(home: Path, claim: Claim, arm: Arm, seed: int, budget: Budget = FULL) -> Path:
    """Path of the result of a unit; smaller budgets have a folder of their own."""
    inside = home if budget == FULL else home / budget.name
    return inside / claim.name / f"{arm.name}-{seed}.json"


def write(home: Path, claim: Claim, arm: Arm, unit: Unit, budget: Budget = FULL) -> Path:
    """Writes a result.

    Raises: RunError if the directory cannot be written.
    """
    return results.write(path_of(home, claim, arm, unit.seed, budget), unit)


def read(home: Path, claim: Claim, arm: Arm, seed: int, budget: Budget = FULL) -> Unit | None:
    """The result of a unit; None if there is none that counts: not yet done, or of another definition.

    Raises: RunError for a file that is damaged.
    """

    def sound(unit: Unit) -> bool:
        named = (unit.claim, unit.arm, unit.seed) == (claim.name, arm.name, seed)
        return named and all(isinstance(value, int | float) for value in unit.metrics.values())

    unit = results.read(path_of(home, claim, arm, seed, budget), Unit, "a claim", sound)
    return unit if unit is not None and unit.definition == claim.definition(arm, budget) else None


def by_seed(home: Path, claim: Claim, budget: Budget = FULL) -> Mapping[int, Mapping[str, Unit]]:
    """All results of a claim that count, by seed and arm."""
    found: dict[int, dict[str, Unit]] = {}
    for arm in claim.arms:
        folder = path_of(home, claim, arm, 0, budget).parent
        for path in folder.glob(f"{arm.name}-*.json"):
            seed = path.stem.removeprefix(f"{arm.name}-")
            unit = read(home, claim, arm, int(seed), budget) if seed.isdecimal() else None
            if unit is not None:
                found.setdefault(unit.seed, {})[arm.name] = unit
    return dict(sorted(found.items()))
