"""Several processes evaluate one model, started by torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robustlab.cli.main import main
from robustlab.evaluation import read_run

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
PATIENCE = 600
"""Seconds for what takes some fifteen where nobody else computes."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes have left their evaluations."""
    folder = tmp_path_factory.mktemp("together")
    done = subprocess.run(
        [*TORCHRUN, str(HERE / "distributed_runs.py"), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def told(folder: Path, rank: int) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / f"found-{rank}.json").read_text())
    return found


def test_two_processes_find_what_one_finds(two: Path) -> None:
    """Rows, x_adv and report to the bit: attacks one by one, AutoAttack, its quick form, and a model that draws."""
    found = json.loads((two / "differences.json").read_text())
    assert {name: found[name] for name in ("together-sweep", "together-autoattack", "together-quick", "noisy")} == {
        "together-sweep": [],
        "together-autoattack": [],
        "together-quick": [],
        "noisy": [],
    }


def test_killed_at_any_moment_two_processes_or_one_end_the_run_of_two(two: Path) -> None:
    found = json.loads((two / "differences.json").read_text())
    exits = {rank: told(two, rank)["exits"] for rank in (0, 1)}
    assert isinstance(exits[0], dict)
    assert isinstance(exits[1], dict)
    assert len(exits[0]) == 3
    for name, status in exits[0].items():
        assert -signal.SIGKILL in (status, exits[1][name]), f"nobody was killed in {name}"
        assert found[name] == [], f"{name} differs"


def test_the_first_process_tells_how_far_all_are(two: Path) -> None:
    first, second = (told(two, rank)["told"] for rank in (0, 1))
    assert isinstance(first, dict)
    assert second == {"sweep": [], "autoattack": [], "quick": []}
    for steps in first.values():
        ends = [(what, done) for what, done, total in steps if done == total]
        assert ends[0] == ("clean", 60)
        assert ends[-1][0] == "doctor"
        assert all(0 < done <= total for _, done, total in steps)
        clean = [done for what, done, _ in steps if what == "clean"]
        assert clean == sorted(set(clean))


def test_the_command_writes_and_speaks_once(two: Path) -> None:
    first, second = (told(two, rank)["command"] for rank in (0, 1))
    assert isinstance(first, list)
    assert second == [0, ""]
    assert first[0] == 0
    assert json.loads(first[1])["data"]["n"] == 40
    assert (two / "command" / "report.html").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "several processes need a run directory that all of them see: give out="),
        ("other", "process 1 differs from the first (seed 0 there, 1 here)"),
        ("held", "holds another run"),
        ("inputs", "Divide images by 255"),
    ],
)
def test_what_is_refused_is_refused_by_all_with_the_same_words(two: Path, name: str, message: str) -> None:
    first, second = (str(told(two, rank)[name]) for rank in (0, 1))
    assert message in first
    assert second == first


MODEL = """
import os, signal
import torch
from torch import nn
from robustlab.data import load

class Dying(nn.Linear):
    asked = 0

    def forward(self, x):
        Dying.asked += 1
        if Dying.asked == int(os.environ.get("LAST", "0")) and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x.flatten(1))

def means():
    data = load("digits", split="train")
    x, y = data.batch(torch.arange(len(data)))[:2]
    made = Dying(64, 10)
    means = torch.stack([x[y == k].flatten(1).mean(0) for k in range(10)])
    made.weight, made.bias = nn.Parameter(2 * means), nn.Parameter(-(means**2).sum(1))
    return made
"""


def test_a_command_of_two_processes_of_which_one_is_killed_is_ended_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying_models.py").write_text(MODEL)
    typed = ["evaluate", "dying_models:means", "--data", "digits", "--attack", "pgd", "--steps", "5", "--eps", "0.1"]
    typed += ["--limit", "80", "--batch-size", "4", "--out"]
    out, alone = tmp_path / "killed", tmp_path / "alone"
    done = subprocess.run(
        [*TORCHRUN, "-m", "robustlab", *typed, str(out)],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1", "LAST": "20"},
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Signal 9 (SIGKILL) received" in done.stderr
    assert (out / "shards" / "1.sqlite").is_file()
    assert not (out / "report.json").exists()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [main([*typed, str(path)]) for path in (out, alone)] == [0, 0]
    assert not (out / "shards").exists()
    ended, whole = (read_run(path) for path in (out, alone))
    assert (ended.run.sessions, whole.run.sessions) == (2, 1)
    assert whole.results[0].success.count > 5
    assert ended.worst == whole.worst
    files = [sorted(path.glob("adversarial/*")) for path in (out, alone)]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
