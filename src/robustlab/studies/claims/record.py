"""Results on disk: one JSON file for each arm and seed of a claim, written whole when it is done."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from robustlab.core import Metrics, RunError
from robustlab.studies.claims.claim import Arm, Claim
from robustlab.studies.claims.lab import FULL, Budget, put

PUBLISHED = Path(__file__).parent / "results"
"""What the package knows already."""


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def installed() -> dict[str, str]:
    """Of what results depend on."""
    return {
        "robustlab": version("robustlab"),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
    }


@cache
def commit() -> str:
    """The commit that the source code is at; "" outside a repository, or without git."""
    if not _git("ls-files", "--error-unmatch", "__init__.py"):
        return ""  # installed somewhere inside another repository
    said = [_git("rev-parse", "--short=12", "HEAD"), _git("status", "--porcelain", "--untracked-files=no", "--", ".")]
    return f"{said[0]} modified" if said[0] and said[1] else said[0]


def _git(*words: str) -> str:
    source = Path(__file__).parents[2]
    try:
        done = subprocess.run(["git", *words], cwd=source, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@dataclass(frozen=True)
class Unit:
    """What one arm of a claim gave with one seed.

    Args:
        claim: its name.
        arm: its name.
        seed: of everything random.
        budget: its name.
        definition: hash of what was to be done and to come out.
        metrics: what was measured.
        training_seconds: spent on training the network, for this or for another claim.
        measuring_seconds: spent on measuring it.
        command: does the same.
        created: when it was done, ISO 8601 in UTC.
        revision: of the source code, if it came from a repository; "modified" if files differed from it.
        threads: that torch computed with.
        device: that it computed on.
        versions: of what it was computed with.
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


def path_of(home: Path, claim: Claim, arm: Arm, seed: int, budget: Budget = FULL) -> Path:
    """Where the result of a unit is; only full ones are where results are taken from."""
    inside = home if budget == FULL else home / budget.name
    return inside / claim.name / f"{arm.name}-{seed}.json"


def write(home: Path, claim: Claim, arm: Arm, unit: Unit, budget: Budget = FULL) -> Path:
    """Writes a result.

    Raises: RunError if the directory cannot be written.
    """
    path, text = path_of(home, claim, arm, unit.seed, budget), json.dumps(asdict(unit), indent=1, allow_nan=False)
    try:
        put(path, text + "\n")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; what was done before is kept") from error
    return path


def read(home: Path, claim: Claim, arm: Arm, seed: int, budget: Budget = FULL) -> Unit | None:
    """The result of a unit; None if there is none that counts: not yet done, or of another definition.

    Raises: RunError for a file that is damaged.
    """
    path = path_of(home, claim, arm, seed, budget)
    if not path.exists():
        return None
    try:
        unit = Unit(**json.loads(path.read_text(encoding="utf-8")))
        named = (unit.claim, unit.arm, unit.seed) == (claim.name, arm.name, seed)
        sound = named and all(isinstance(value, int | float) for value in unit.metrics.values())
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is no result of a claim ({error}): remove it to have it computed again") from error
    if not sound:
        raise RunError(f"{path} is the result of another unit: remove it to have it computed again")
    return unit if unit.definition == claim.definition(arm, budget) else None


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
