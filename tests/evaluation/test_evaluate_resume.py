from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_at_any_moment_a_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    program = Path(__file__).with_name("killed_runs.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {where: what for where, what in found["failures"].items() if what} == {}
    assert len(found["failures"]) >= 28
    assert set(found["steps"]) == {
        "before a file",
        "file not yet in place",
        "after a file",
        "before rows",
        "rows not yet committed",
        "after a commit",
    }
    assert found["rows"] > 250
