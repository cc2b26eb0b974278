"""Run directories of evaluations under corruptions: read again, resumed, refused, and whole whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from test_corruptions_evaluate import Digits, Given, counts, measured, small  # type: ignore[import-not-found]
from torch import nn

from robustlab.core import RunError
from robustlab.evaluation import CorruptionSettings, Progress, read_corruptions, read_run


def test_a_finished_run_is_read_and_not_computed_again(standard: nn.Module, digits: Digits, tmp_path: Path) -> None:
    told: list[Progress] = []
    first = measured(standard, small(digits), out=tmp_path / "run", settings=CorruptionSettings(progress=told.append))
    assert len(told) == 7
    assert told[-1].fraction == 1
    shares = [at.fraction for at in told]
    assert shares == sorted(shares)
    told.clear()
    again = measured(standard, small(digits), out=tmp_path / "run", settings=CorruptionSettings(progress=told.append))
    assert told == []
    assert again.cells == first.cells
    assert again.run == first.run
    assert read_corruptions(tmp_path / "run") == again
    assert sorted(p.name for p in (tmp_path / "run").iterdir() if not p.name.startswith(".")) == [
        "answers.safetensors", "corruptions.json", "gallery.safetensors", "manifest.json", "sessions.json",
    ]  # fmt: skip


def test_another_run_is_refused_with_what_differs(standard: nn.Module, digits: Digits, tmp_path: Path) -> None:
    measured(standard, small(digits), out=tmp_path)
    with pytest.raises(RunError, match="another run \\(severities 1, 4 there, 2 here\\)"):
        measured(standard, small(digits), out=tmp_path, severities=(2,))
    with pytest.raises(RunError, match="holds a run over corrupted images"):
        read_run(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds notes\.txt without a manifest"):
        measured(standard, small(digits), out=tmp_path / "other")


class StopError(Exception):
    """Thrown in the middle of a run."""


def stopped(out: Path, model: nn.Module, data: Given, after: int) -> None:
    def stop(at: Progress) -> None:
        if at.fraction >= after / 42:
            raise StopError

    with pytest.raises(StopError):
        measured(model, data, out=out, settings=CorruptionSettings(batch_size=10, progress=stop))


def test_what_is_damaged_or_missing_is_asked_for_again(standard: nn.Module, digits: Digits, tmp_path: Path) -> None:
    expected = measured(standard, small(digits), settings=CorruptionSettings(batch_size=10))
    stopped(tmp_path, standard, small(digits), 20)
    with pytest.raises(RunError, match="not finished"):
        read_corruptions(tmp_path)
    files = sorted(tmp_path.glob("answers/*.safetensors"))
    assert len(files) == 20
    files[0].write_bytes(files[0].read_bytes()[:-1])
    flipped = bytearray(files[1].read_bytes())
    flipped[-20] ^= 1
    files[1].write_bytes(bytes(flipped))
    files[2].unlink()
    told: list[Progress] = []
    how = CorruptionSettings(batch_size=10, progress=told.append)
    found = measured(standard, small(digits), out=tmp_path, settings=how)
    assert len(told) == 42 - 17
    assert counts(found) == counts(expected)
    assert found.errors == expected.errors
    assert found.run.sessions == 2


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_around_any_write_a_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    program = Path(__file__).with_name("killed_corruptions.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {where: what for where, what in found["failures"].items() if what} == {}
    assert found["files"] == [
        "answers.safetensors", "corruptions.json", "gallery.safetensors", "manifest.json", "sessions.json",
    ]  # fmt: skip
    killed_at = " ".join(found["failures"])
    record = ("corruptions.json not", "corruptions.json in")
    places = ("manifest.json not", "answers.safetensors not", *record, "not yet removed")
    assert [place for place in places if place not in killed_at] == []


def test_a_full_disk_is_said_and_nothing_is_half_written(
    standard: nn.Module, digits: Digits, tmp_path: Path, full_after: Callable[[int], AbstractContextManager[None]]
) -> None:
    with full_after(9), pytest.raises(RunError, match=r"the disk is full.*free some space"):
        measured(standard, small(digits), out=tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    found = measured(standard, small(digits), out=tmp_path)
    assert counts(found) == counts(measured(standard, small(digits)))
