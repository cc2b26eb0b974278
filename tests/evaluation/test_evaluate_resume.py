from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize(("plan", "stages"), [("sweep", [0, 0]), ("autoattack", [3])])
def test_killed_at_any_moment_a_run_ends_as_if_it_had_not_been(plan: str, stages: list[int], tmp_path: Path) -> None:
    program = Path(__file__).with_name("killed_runs.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), plan],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {where: what for where, what in found["failures"].items() if what} == {}
    assert {where.partition(": ")[2] for where in found["failures"]} >= set(found["steps"]), (
        "killed at each kind of step"
    )
    places = {f"stage {s} of attack {a}" for a, last in enumerate(stages) for s in range(last + 1)}
    assert {place for place in places if any(where.endswith(place) for where in found["failures"])} == places
    assert set(found["steps"]) - {"stage 0 of attack -1"} == places | {
        "before a file",
        "file not yet in place",
        "after a file",
        "before rows",
        "rows not yet committed",
        "after a commit",
    }
    assert found["rows"] > 120
