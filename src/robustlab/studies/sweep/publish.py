"""Publication of results as files of the package."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from robustlab.runs.files import write_atomically
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.sweep.attackers import SEEDS, Spend, Sweep
from robustlab.studies.sweep.ledger import path_of
from robustlab.studies.sweep.optimizers import REGIMES
from robustlab.studies.sweep.subject import SUBJECTS
from robustlab.studies.sweep.trainers import SEEDS as TRAINED
from robustlab.studies.sweep.trainers import School
from robustlab.studies.sweep.unit import RESULTS, Compute, MissingError, Trial, Unit, read


def take_over(source: Path, into: Path = RESULTS) -> list[str]:
    """Copies the runs of the complete sweeps in a directory, one per line of a file.

    Args:
        source: directory ``out`` of the sweeps.
        into: directory of the files.

    Returns: names of the sweeps.
    Raises: RunError for a damaged file.
    """
    lab = Lab(Path(), 0)
    studies: list[Sweep | School] = [Sweep(one, Spend(), SEEDS, lab) for one in SUBJECTS]
    studies += [School(one, TRAINED, lab) for one in REGIMES]
    done = []
    for one in studies:
        used = dict[str, Unit]()
        try:
            one.done(_Reader(source, used))
        except MissingError:
            continue
        lines = ",\n".join(json.dumps(asdict(used[name]), allow_nan=False) for name in sorted(used))
        write_atomically(into / f"{one.study}.json", f"[\n{lines}\n]\n")
        done.append(one.study)
    return done


class _Reader:
    """Reads results from a directory, and records them."""

    def __init__(self, source: Path, used: dict[str, Unit]) -> None:
        self.source, self.used = source, used

    def __call__(self, trial: Trial, _: Compute) -> Unit:
        unit = read(path_of(self.source, trial), trial)
        if unit is None:
            raise MissingError(f"{trial.study} has no result {trial.name}")
        self.used[trial.name] = unit
        return unit
