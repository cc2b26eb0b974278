"""Definitions that committed results are filed under: a change of a name or a default must not lose a result.

``definitions.json`` holds them as they were when the results were made. ``python tests/studies/test_definitions.py``
writes it anew, which is right only after an experiment was changed on purpose, or added.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robustlab.data.fashion_mnist_a import RECORD
from robustlab.studies import mining
from robustlab.studies.claim_engine.budget import FULL
from robustlab.studies.claim_engine.definition import described
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.record import PUBLISHED, by_seed
from robustlab.studies.claims import CLAIMS
from robustlab.studies.mining.page import AGAIN
from robustlab.studies.sweep.attackers import SEEDS, Spend, Sweep
from robustlab.studies.sweep.subject import SUBJECTS
from robustlab.studies.sweep.trainers import SEEDS as TRAINER_SEEDS
from robustlab.studies.sweep.trainers import School, named
from robustlab.studies.sweep.unit import RESULTS, Compute, Get, Trial, Unit, published

PINNED = Path(__file__).with_name("definitions.json")
CLAIM_UNITS = 277
SWEEP_UNITS = {"attackers-standard": 112, "attackers-robust": 123, "trainers-standard": 57}


def claim_definitions() -> dict[str, dict[str, str]]:
    return {claim.name: {arm.name: claim.definition(arm, FULL) for arm in claim.arms} for claim in CLAIMS}


def sweep_definitions() -> dict[str, dict[str, str]]:
    """The definition of every run of a sweep, by study and name of the run."""
    lab = Lab(Path(), 0)
    found: dict[str, dict[str, str]] = {}

    def noted(get: Get) -> Get:
        def look(trial: Trial, compute: Compute) -> Unit:
            found.setdefault(trial.study, {})[trial.name] = trial.definition
            return get(trial, compute)

        return look

    for subject in SUBJECTS:
        sweep = Sweep(subject, Spend(), SEEDS, lab)
        sweep.done(noted(published(sweep.study)))
    school = School(named("standard"), TRAINER_SEEDS, lab)
    school.done(noted(published(school.study)))
    return found


def pinned() -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = json.loads(PINNED.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_an_arm_of_a_claim_is_defined_as_when_its_results_were_made(claim: object) -> None:
    name = getattr(claim, "name", "")
    assert claim_definitions()[name] == pinned()["claims"][name]


def test_no_committed_unit_of_a_claim_is_lost() -> None:
    counted = {claim.name: sum(map(len, by_seed(PUBLISHED, claim).values())) for claim in CLAIMS}
    files = {claim.name: len(list((PUBLISHED / claim.name).glob("*.json"))) for claim in CLAIMS}
    assert counted == files
    assert sum(counted.values()) == CLAIM_UNITS


def test_runs_of_sweeps_are_defined_as_when_their_results_were_made() -> None:
    assert sweep_definitions() == pinned()["sweeps"]


@pytest.mark.parametrize(("study", "units"), SWEEP_UNITS.items())
def test_no_committed_run_of_a_sweep_is_lost(study: str, units: int) -> None:
    kept = json.loads((RESULTS / f"{study}.json").read_text(encoding="utf-8"))
    assert len(kept) == units
    asked = set(pinned()["sweeps"][study].values())
    assert {unit["definition"] for unit in kept} == asked


@pytest.mark.parametrize("record", [RECORD, AGAIN], ids=lambda path: path.stem)
def test_networks_that_mined_are_described_as_when_they_did(record: Path) -> None:
    networks = json.loads(record.read_text(encoding="utf-8"))["networks"]
    assert set(mining.COMMITTEE) <= set(networks)
    assert {name: described(mining.network(name)) for name in networks} == networks


if __name__ == "__main__":
    definitions = {"claims": claim_definitions(), "sweeps": sweep_definitions()}
    PINNED.write_text(json.dumps(definitions, indent=1, sort_keys=True) + "\n", encoding="utf-8")
