"""Run directories of older versions: they are read, go on, and are checked as far as they can be."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from robustlab.attacks import FGSM
from robustlab.core import Linf, RunError, ThreatModel
from robustlab.evaluation import Evaluation, Settings, evaluate, read_run
from robustlab.runs.files import sha256_of

if TYPE_CHECKING:
    from tests.evaluation.conftest import Points, Threshold

THREAT = ThreatModel(Linf(), 0.1)
Damage: TypeAlias = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def run(model: Threshold, data: Points, out: Path, stop_after: int = 0) -> Evaluation:
    left = [stop_after]

    def interrupt(_: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    settings = Settings(batch_size=20, doctor=False, progress=interrupt)
    return evaluate(model, data, attacks=[FGSM(THREAT)], eps=[0.05, 0.1], n=40, out=out, settings=settings)


def query(out: Path, *texts: str) -> None:
    database = sqlite3.connect(out / "outcomes.sqlite")
    with database:
        for text in texts:
            database.execute(text)
    database.close()


def older(out: Path) -> None:
    """Makes a run directory what an older version would have written."""
    found = json.loads((out / "manifest.json").read_text())
    del found["sealed"]
    (out / "manifest.json").write_text(json.dumps(found))
    columns = (("batches", "content"), ("examples", "batch"))
    query(out, "DROP TABLE run", *(f"ALTER TABLE {table} DROP COLUMN {column}" for table, column in columns))


def another_report(out: Path) -> None:
    found = json.loads((out / "report.json").read_text())
    found["run"]["id"] = "another"
    found["worst"][-1]["robust"]["count"] = 40
    (out / "report.json").write_text(json.dumps(found))


def counted(found: Evaluation) -> tuple[object, ...]:
    return found.worst, found.clean.accuracy, [r.robust for r in found.results]


def test_a_finished_one_is_read_as_it_is(threshold: Threshold, points: type[Points], readable: Path) -> None:
    before = run(threshold, points(100), readable)
    older(readable)
    assert read_run(readable).to_json() == before.to_json()
    assert run(threshold, points(100), readable).to_json() == before.to_json()


DAMAGES: dict[str, Damage] = {
    "outcomes gone": lambda out: query(out, "DELETE FROM outcomes WHERE id % 3 = 0"),
    "an example gone": lambda out: query(out, "DELETE FROM examples WHERE id = (SELECT max(id) FROM examples)"),
    "no batches": lambda out: query(out, "DELETE FROM batches"),
    "x_adv gone": lambda out: shutil.rmtree(out / "adversarial"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "name"),
    [*(("half", name) for name in DAMAGES), *(("finished", name) for name in (*DAMAGES, "another report"))],
)
def test_what_is_missing_is_redone(
    state: str, name: str, threshold: Threshold, points: type[Points], tmp_path: Path
) -> None:
    expected, out = run(threshold, points(100), tmp_path / "whole"), tmp_path / "older"
    if state == "half":
        with pytest.raises(KeyboardInterrupt):
            run(threshold, points(100), out, stop_after=5)
    else:
        run(threshold, points(100), out)
    older(out)
    {**DAMAGES, "another report": another_report}[name](out)
    found = run(threshold, points(100), out)
    assert counted(found) == counted(expected)
    assert found.run.sessions == 2
    assert run(threshold, points(100), out).to_json() == found.to_json()
    assert read_run(out).to_json() == found.to_json()


def second_schema(out: Path) -> None:
    """Gives the files of a run the schema and the names that version 2 had."""
    found = json.loads((out / "manifest.json").read_text())
    found["schema"] = 2
    if (out / "report.json").exists():
        record = json.loads((out / "report.json").read_text())
        record["schema"] = 2
        for trace in record["traces"]:
            trace["fell_at"], trace["looked_at"] = trace.pop("fooled_at"), trace.pop("points_seen")
        (out / "report.json").write_text(json.dumps(record))
        found["sealed"]["report.json"] = sha256_of(out / "report.json")
    (out / "manifest.json").write_text(json.dumps(found))


def test_a_finished_one_of_the_second_schema_is_read_and_taken_up(
    threshold: Threshold, points: type[Points], readable: Path
) -> None:
    before = run(threshold, points(100), readable)
    second_schema(readable)
    assert read_run(readable).to_json() == before.to_json()
    assert run(threshold, points(100), readable).to_json() == before.to_json()


def test_an_unfinished_one_of_the_second_schema_is_refused_by_name(
    threshold: Threshold, points: type[Points], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(threshold, points(100), tmp_path / "half", stop_after=5)
    second_schema(tmp_path / "half")
    with pytest.raises(RunError, match=r"half holds a run that an older version began \(schema 2, now 3\)") as seen:
        run(threshold, points(100), tmp_path / "half")
    assert "\n" not in str(seen.value)


def test_a_result_that_its_rows_do_not_give_is_not_believed(
    threshold: Threshold, points: type[Points], readable: Path
) -> None:
    before = run(threshold, points(100), readable)
    older(readable)
    query(readable, "UPDATE outcomes SET fooled = 0")
    found = run(threshold, points(100), readable)
    assert counted(found) != counted(before), "only their number is known of such rows"
    assert found.run.sessions == 2
