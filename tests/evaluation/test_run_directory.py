from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM, PGD
from robustlab.core import Linf, RunError, ThreatModel
from robustlab.evaluation import Evaluation, Settings, evaluate, pictures, read_run, store
from robustlab.runs import tensors as files
from robustlab.runs.files import write_bytes

if TYPE_CHECKING:
    from tests.evaluation.conftest import Points, Threshold

THREAT = ThreatModel(Linf(), 0.1)
FAST = FGSM(THREAT)
QUIET = Settings(doctor=False)


def begun(model: nn.Module, data: object, out: Path, settings: Settings = QUIET, stop_after: int = 2) -> None:
    """Begins a run and interrupts it after some batches."""
    left = [stop_after]

    def interrupt(_: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, data, out, replace(settings, progress=interrupt))


def run(model: nn.Module, data: object, out: Path, settings: Settings = QUIET) -> Evaluation:
    attacks = [FAST, PGD(THREAT, 3)]
    return evaluate(model, data, attacks=attacks, n=60, out=out, settings=replace(settings, batch_size=20))  # type: ignore[arg-type]


def test_an_interrupted_run_goes_on_and_says_so(threshold: Threshold, points: type[Points], readable: Path) -> None:
    begun(threshold, points(100), readable)
    with pytest.raises(RunError, match="is not finished: call evaluate with the same arguments"):
        read_run(readable)
    got = run(threshold, points(100), readable)
    assert got.run.sessions == 2
    assert got.data.n == 60
    assert read_run(readable).to_json() == got.to_json()


def test_a_finished_run_is_read_not_run_again(threshold: Threshold, points: type[Points], readable: Path) -> None:
    first = run(threshold, points(100), readable)
    again = run(threshold, points(100), readable)
    assert again.to_json() == first.to_json()
    assert again.run.sessions == 1


class Noisy(nn.Module):
    """Draws from the global generator in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(4.0))

    def forward(self, x: Tensor) -> Tensor:
        z = self.slope * (x[:, 0] - 0.5 + 0.05 * torch.randn(len(x)))
        return torch.stack([-z, z], dim=1)


def rows(out: Path) -> list[tuple[object, ...]]:
    database = sqlite3.connect(out / "outcomes.sqlite")
    found = database.execute("SELECT * FROM outcomes ORDER BY attack, eps, kind, stage, restart, id").fetchall()
    database.close()
    return found


def test_a_model_that_draws_is_resumed_alike(points: type[Points], tmp_path: Path) -> None:
    torch.manual_seed(1)
    run(Noisy(), points(100), tmp_path / "alone")
    for after in (1, 3, 5):
        begun(Noisy(), points(100), tmp_path / str(after), stop_after=after)
        torch.manual_seed(after)
        run(Noisy(), points(100), tmp_path / str(after))
        assert rows(tmp_path / str(after)) == rows(tmp_path / "alone")


def test_what_a_killed_process_left_half_written_is_removed(
    threshold: Threshold, points: type[Points], readable: Path
) -> None:
    begun(threshold, points(100), readable, stop_after=4)
    stray = [readable / "report.json.partial", readable / "adversarial" / "x.safetensors.partial"]
    stray += [readable / "report.json.0123456789ab.part", readable / "shards" / "x.0123456789ab.part"]
    for path in stray:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    run(threshold, points(100), readable)
    assert not any(path.exists() for path in stray)


def test_another_run_in_the_directory_is_refused_by_name(
    threshold: Threshold, points: type[Points], readable: Path
) -> None:
    begun(threshold, points(100), readable)
    other = type(threshold)()
    with torch.no_grad():
        other.slope.mul_(2)
    data, wide = points(100), (torch.rand(100, 1), torch.arange(100) % 2)
    with pytest.raises(RunError, match=r"holds another run \(weights v2:\w+ there, v2:\w+ here; answers of the model"):
        run(other, data, readable)
    with pytest.raises(RunError, match=r"holds another run \(seed 0 there, 1 here; drawn|drawn .*seed 1"):
        run(threshold, data, readable, Settings(doctor=False, seed=1))
    with pytest.raises(RunError, match=r"data \w+ there, \w+ here"):
        run(threshold, wide, readable)
    with pytest.raises(RunError, match=r"attacks .*PGD-3: PGD.* there, .* here"):
        evaluate(threshold, data, attacks=[FAST], n=60, out=readable, settings=replace(QUIET, batch_size=20))
    with pytest.raises(RunError, match=r"batch size 20 there, 128 here"):
        evaluate(threshold, data, attacks=[FAST, PGD(THREAT, 3)], n=60, out=readable, settings=QUIET)
    torch.set_num_threads(2)
    with pytest.raises(RunError, match=r"\(threads 1 there, 2 here\): choose another directory, or the same settings"):
        run(threshold, data, readable)
    torch.set_num_threads(1)
    assert run(threshold, data, readable).run.sessions == 2


def test_a_model_that_answers_otherwise_with_the_same_weights_is_refused(
    threshold: Threshold, points: type[Points], readable: Path
) -> None:
    begun(threshold, points(100), readable)

    class Rounded(type(threshold)):  # type: ignore[misc]  # the class of a fixture
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = super().forward(x)
            return (logits * 8).round() / 8

    with pytest.raises(RunError, match=r"holds another run \(answers of the model"):
        run(Rounded(), points(100), readable)


def test_two_runs_in_one_directory_are_refused(threshold: Threshold, points: type[Points], readable: Path) -> None:
    def second(_: object) -> None:
        with pytest.raises(RunError, match=r"another process is writing to .*run: wait until it ends, or choose"):
            run(threshold, points(100), readable)

    run(threshold, points(100), readable, Settings(doctor=False, progress=second))


def test_a_damaged_file_is_made_again(threshold: Threshold, points: type[Points], readable: Path) -> None:
    begun(threshold, points(100), readable, stop_after=6)
    first, second, *_ = sorted((readable / "adversarial").iterdir())
    before = first.read_bytes()
    first.write_bytes(before[:-10])
    second.unlink()
    run(threshold, points(100), readable)
    assert first.read_bytes() == before
    assert second.exists()


def test_what_is_no_run_is_said_to_be_none(threshold: Threshold, points: type[Points], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"manifest.json cannot be read .*: is .* a run directory\?"):
        read_run(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RunError, match=r"manifest.json is damaged"):
        run(threshold, points(100), tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema": 99}')
    with pytest.raises(RunError, match=r"manifest.json cannot be used: it has schema 99"):
        run(threshold, points(100), tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(RunError, match=r"manifest.json is damaged \(it holds no JSON object\)"):
        run(threshold, points(100), tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "outcomes.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match=r"the database in .* is damaged"):
        run(threshold, points(100), tmp_path)


def test_outcomes_without_a_manifest_are_refused(threshold: Threshold, points: type[Points], readable: Path) -> None:
    begun(threshold, points(100), readable)
    (readable / "manifest.json").unlink()
    with pytest.raises(RunError, match="holds outcomes without a manifest"):
        run(threshold, points(100), readable)


def test_a_damaged_report_is_said_to_be_so(threshold: Threshold, points: type[Points], readable: Path) -> None:
    first = run(threshold, points(100), readable)
    (readable / "report.json").write_text('{"schema": 1}')
    with pytest.raises(RunError, match=r"report.json is not what the run wrote: run the evaluation again"):
        read_run(readable)
    (readable / "report.json").unlink()
    assert run(threshold, points(100), readable).worst == first.worst


def test_pictures_that_are_gone_are_missed_by_name(threshold: Threshold, points: type[Points], readable: Path) -> None:
    got = run(threshold, points(100), readable)
    shutil.rmtree(readable / "adversarial")
    with pytest.raises(RunError, match=r"gallery.safetensors cannot be read"):
        pictures(got, got.gallery)
    with pytest.raises(RunError, match="has no run directory, so it has no pictures"):
        pictures(replace(got, directory=None), got.gallery)


def test_a_place_that_cannot_be_written_is_refused(threshold: Threshold, points: type[Points], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/run cannot be written to .*Not a directory"):
        run(threshold, points(100), tmp_path / "file" / "run")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_refused(threshold: Threshold, points: type[Points], readable: Path) -> None:
    readable.mkdir()
    readable.chmod(0o500)
    with pytest.raises(RunError, match=r"cannot be written to .* choose another directory or change its permissions"):
        run(threshold, points(100), readable)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_file_system_that_is_read_only_is_named(
    number: int, threshold: Threshold, points: type[Points], readable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RunError, match=r"cannot be written to .* choose another directory"):
        run(threshold, points(100), readable)


def test_a_full_disk_loses_nothing(
    threshold: Threshold, points: type[Points], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(threshold, points(100), tmp_path / "alone")
    real, left = write_bytes, [4]

    def full(path: Path, content: bytes, *, durable: bool = True) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content, durable=durable)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(
        RunError, match=r"the disk is full, nothing more can be written to .*; what is finished is kept"
    ):
        run(threshold, points(100), tmp_path / "full")
    monkeypatch.undo()
    got = run(threshold, points(100), tmp_path / "full")
    assert got.run.sessions == 2
    assert [r.robust for r in got.results] == [r.robust for r in expected.results]


def test_a_database_without_room_loses_nothing(
    threshold: Threshold, points: type[Points], readable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store._connected

    def small(directory: Path, *, durable: bool) -> sqlite3.Connection:
        database = real(directory, durable=durable)
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages + 1}")
        return database

    monkeypatch.setattr(store, "_connected", small)
    with pytest.raises(RunError, match="the disk is full"):
        run(threshold, points(100), readable)
    monkeypatch.undo()
    assert run(threshold, points(100), readable).data.n == 60


def test_a_database_that_turned_read_only_is_named(
    threshold: Threshold, points: type[Points], readable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(threshold, points(100), readable)
    real = store._connected

    def query_only(directory: Path, *, durable: bool) -> sqlite3.Connection:
        database = real(directory, durable=durable)
        database.execute("PRAGMA query_only = ON")
        return database

    monkeypatch.setattr(store, "_connected", query_only)
    with pytest.raises(RunError, match=r"cannot be written to \(attempt to write a readonly database\)"):
        run(threshold, points(100), readable)


@pytest.mark.slow
def test_a_real_limit_on_file_size_is_reported(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    program = (
        "import resource, sys, torch\n"
        "from robustlab.attacks import FGSM\n"
        "from robustlab.core import Linf, RunError, ThreatModel\n"
        "from robustlab.evaluation import Settings, evaluate\n"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 3))\n"
        "x = torch.rand(64, 3, 32, 32)\n"
        "y = model(x).argmax(1)\n"
        "limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limit))\n"
        "try:\n"
        "    evaluate(model, (x, y), attacks=[FGSM(ThreatModel(Linf(), 0.1))], out=sys.argv[1],\n"
        "             settings=Settings(doctor=False))\n"
        "except RunError as error:\n"
        "    print(error)\n"
    )
    assert resource
    out = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", program, str(out)], capture_output=True, text=True, check=False)
    assert "File too large" in done.stdout, done.stderr
    assert "what is finished is kept" in done.stdout
    assert not list(out.glob("adversarial/*"))
