"""Results of studies from elsewhere: their types are checked, and broken ones give one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from robustlab.core import RunError
from robustlab.runs import results
from robustlab.studies.claim_engine.record import Unit as ClaimUnit
from robustlab.studies.mining import record
from robustlab.studies.sweep.precision import _read as precision_of
from robustlab.studies.sweep.unit import Unit as SweepUnit

CLAIM = ClaimUnit("c", "a", 0, "full", "d", {"accuracy": 0.5}, 1.0, 1.0, "robustlab reproduce c")
SWEEP = SweepUnit("s", "tuning", "sgd", 0.1, 0, "full", "d", {"accuracy": 0.5}, "", 1.0, "robustlab sweep")


def claim(path: Path) -> object:
    return results.read(path, ClaimUnit, "a claim", lambda _: True)


def sweep(path: Path) -> object:
    return results.read(path, SweepUnit, "a sweep", lambda _: True)


READERS: dict[str, Callable[[Path], object]] = {
    "claim": claim,
    "sweep": sweep,
    "mining": record.read,
    "precision": precision_of,
}
TEXTS = ["", "{", "null", "3", "[]", "[" * 100_000, '{"a":' * 400 + "1" + "}" * 400, '{"judges": 3}']


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:12]))
@pytest.mark.parametrize("kind", READERS)
def test_invalid_results_give_one_sentence_with_the_name_of_the_file(tmp_path: Path, kind: str, text: str) -> None:
    (tmp_path / "theirs.json").write_text(text)
    with pytest.raises(RunError, match=r"theirs\.json") as seen:
        READERS[kind](tmp_path / "theirs.json")
    assert "\n" not in str(seen.value)


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"accuracy": "os:abort"}},
        {"metrics": [1]},
        {"seed": [0]},
        {"command": 3},
        {"versions": {"torch": {}}},
        {"threads": "many"},
        {"created": None},
        {"__class__": "os.system"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("kind", "unit"), [("claim", CLAIM), ("sweep", SWEEP)], ids=["claim", "sweep"])
def test_values_of_other_types_are_refused(
    tmp_path: Path, kind: str, unit: ClaimUnit | SweepUnit, change: dict[str, object]
) -> None:
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(asdict(unit)))
    assert READERS[kind](path) == unit
    path.write_text(json.dumps({**asdict(unit), **change}))
    with pytest.raises(RunError, match=r"theirs\.json is no result of a (claim|sweep)"):
        READERS[kind](path)
