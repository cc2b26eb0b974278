"""Run directories that somebody damaged: they end as if nothing had been, or are refused in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import torch

from robustlab.attacks import FGSM
from robustlab.core import Linf, RunError, ThreatModel
from robustlab.evaluation import Evaluation, Progress, Settings, compare, evaluate, pictures, read_run
from robustlab.report import write

if TYPE_CHECKING:
    from tests.evaluation.conftest import Points, Threshold

THREAT = ThreatModel(Linf(), 0.1)
Made: TypeAlias = "Callable[[str, Threshold, Points], Path]"
Damage: TypeAlias = Callable[[Path], object]


def run(model: Threshold, data: Points, out: Path, stop_after: int = 0) -> Evaluation:
    left = [stop_after]

    def interrupt(_: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    settings = Settings(batch_size=20, doctor=False, progress=interrupt)
    return evaluate(model, data, attacks=[FGSM(THREAT)], eps=[0.05, 0.1], n=40, out=out, settings=settings)


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Runs that are made once: "finished", "half" and "other", which is of another model."""
    home = tmp_path_factory.mktemp("made")

    def make(name: str, model: Threshold, data: Points) -> Path:
        out = home / name
        if not out.exists():
            if name == "other":
                model = type(model)()
                with torch.no_grad():
                    model.slope.fill_(2)
            if name == "half":
                with pytest.raises(KeyboardInterrupt):
                    run(model, data, out, stop_after=5)
            else:
                run(model, data, out)
        return out

    return make


def query(out: Path, text: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(out / "outcomes.sqlite")
    with database:
        found = database.execute(text).fetchall()
    database.close()
    return found


def rows(out: Path) -> list[list[tuple[Any, ...]]]:
    columns = "attack, eps, kind, stage, restart, batch, n, forward, backward, file, digest"
    return [
        query(out, "SELECT * FROM examples ORDER BY id"),
        query(out, "SELECT * FROM outcomes ORDER BY attack, eps, kind, stage, restart, id"),
        query(out, f"SELECT {columns} FROM batches ORDER BY {columns}"),
    ]


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("adversarial/*")}


def numbers(found: Evaluation) -> tuple[object, ...]:
    return found.worst, found.clean.accuracy, found.curves, [r.robust for r in found.results], found.gallery


def sql(text: str) -> Damage:
    return lambda out: query(out, text)


def first(out: Path) -> Path:
    return next(path for path in sorted(out.glob("adversarial/*")) if path.name != "gallery.safetensors")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


ROWS: dict[str, Damage] = {
    "no outcomes": sql("DELETE FROM outcomes"),
    "no table of outcomes": sql("DROP TABLE outcomes"),
    "some outcomes gone": sql("DELETE FROM outcomes WHERE id % 3 = 0"),
    "one outcome gone": sql("DELETE FROM outcomes WHERE attack = 0 AND id = (SELECT max(id) FROM outcomes)"),
    "the fooled ones gone": sql("DELETE FROM outcomes WHERE fooled = 1"),
    "fooled turned round": sql("UPDATE outcomes SET fooled = 1 - fooled WHERE id = (SELECT min(id) FROM outcomes)"),
    "another prediction": sql("UPDATE outcomes SET prediction = 1 - prediction WHERE attack = 0"),
    "no confidence": sql("UPDATE outcomes SET confidence = NULL WHERE fooled = 1"),
    "text for a number": sql("UPDATE outcomes SET linf = 'large' WHERE kind = 'run'"),
    "another eps": sql("UPDATE outcomes SET eps = 0.07 WHERE eps = 0.05"),
    "another eps everywhere": lambda out: [
        query(out, f"UPDATE {table} SET eps = 0.07 WHERE eps = 0.05") for table in ("outcomes", "batches")
    ],
    "another batch": sql("UPDATE outcomes SET batch = 99 WHERE batch = 0"),
    "doubled as a stage": sql(
        "INSERT INTO outcomes SELECT attack, eps, kind, 7, restart, id, 1, prediction, confidence, target, inside, "
        "linf, l2, l1, batch FROM outcomes WHERE kind = 'run' AND fooled = 0"
    ),
    "doubled as reused": sql(
        "INSERT INTO outcomes SELECT attack, eps, 'reused', stage, restart, id, 1, prediction, confidence, target, "
        "inside, linf, l2, l1, batch FROM outcomes WHERE kind = 'run' AND fooled = 0 AND eps = 0.05"
    ),
    "no examples": sql("DELETE FROM examples"),
    "no table of examples": sql("DROP TABLE examples"),
    "one example gone": sql("DELETE FROM examples WHERE id = (SELECT max(id) FROM examples)"),
    "correct turned round": sql("UPDATE examples SET correct = 1 - correct WHERE batch = 1"),
    "another example": sql("UPDATE examples SET id = id + 100 WHERE batch = 0"),
    "no batches": sql("DELETE FROM batches"),
    "no table of batches": sql("DROP TABLE batches"),
    "a batch and its rows gone": lambda out: [
        query(out, f"DELETE FROM {table} WHERE kind = 'run' AND batch = 0") for table in ("batches", "outcomes")
    ],
    "the last batch gone": sql("DELETE FROM batches WHERE attack = (SELECT max(attack) FROM batches)"),
    "more passes": sql("UPDATE batches SET forward = forward + 1 WHERE batch = 0"),
    "fewer examples": sql("UPDATE batches SET n = n - 1"),
    "no digests of files": sql("UPDATE batches SET file = NULL, digest = NULL"),
    "no digests of rows": sql("UPDATE batches SET content = NULL, n = 3"),
    "no sessions": sql("DELETE FROM sessions"),
    "no name": sql("DELETE FROM examples WHERE batch = 0"),
    "an empty database": lambda out: (out / "outcomes.sqlite").write_bytes(b""),
    "no database": lambda out: (out / "outcomes.sqlite").unlink(),
    "an x_adv gone": lambda out: first(out).unlink(),
    "an x_adv cut": lambda out: first(out).write_bytes(first(out).read_bytes()[:-7]),
    "an x_adv changed": lambda out: flipped(first(out)),
    "an x_adv empty": lambda out: first(out).write_bytes(b""),
    "no x_adv": lambda out: shutil.rmtree(out / "adversarial"),
}
RESULTS: dict[str, Damage] = {
    "no pictures": lambda out: (out / "adversarial" / "gallery.safetensors").unlink(),
    "other pictures": lambda out: flipped(out / "adversarial" / "gallery.safetensors"),
    "no report": lambda out: (out / "report.json").unlink(),
    "an empty report": lambda out: (out / "report.json").write_bytes(b""),
    "half a report": lambda out: (out / "report.json").write_bytes((out / "report.json").read_bytes()[:900]),
    "a report of other numbers": lambda out: edited(out, lambda found: found["worst"][-1]["robust"].update(count=60)),
    "a report of another run": lambda out: edited(out, lambda found: found["run"].update(id="another")),
    "a report of several": lambda out: (out / "report.json").write_text('{"schema": 2, "evaluations": []}'),
    "a report of something else": lambda out: (out / "report.json").write_text("[]"),
}


def edited(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = json.loads((out / "report.json").read_text())
    change(found)
    (out / "report.json").write_text(json.dumps(found, indent=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "name"),
    [*(("finished", name) for name in (*ROWS, *RESULTS)), *(("half", name) for name in list(ROWS)[::4])],
    ids=lambda value: str(value).replace(" ", "-"),
)
def test_a_damaged_run_ends_as_if_it_had_not_been(
    state: str, name: str, made: Made, threshold: Threshold, points: type[Points], readable: Path
) -> None:
    whole = made("finished", threshold, points(100))
    expected = read_run(whole)
    shutil.copytree(made(state, threshold, points(100)), readable)
    {**ROWS, **RESULTS}[name](readable)
    found = run(threshold, points(100), readable)
    assert numbers(found) == numbers(expected)
    assert rows(readable) == rows(whole)
    assert files(readable) == files(whole)
    assert read_run(readable).to_json() == found.to_json()


def test_a_run_that_was_mended_is_left_alone(
    made: Made, threshold: Threshold, points: type[Points], readable: Path
) -> None:
    shutil.copytree(made("finished", threshold, points(100)), readable)
    first(readable).unlink()
    found = run(threshold, points(100), readable)
    assert found.run.sessions == 2
    before = {path: path.read_bytes() for path in readable.glob("**/*.[js]*") if path.suffix != ".sqlite"}
    assert run(threshold, points(100), readable).to_json() == found.to_json()
    assert {path: path.read_bytes() for path in before} == before
    assert query(readable, "SELECT count(*) FROM sessions") == [(2,)]


def foreign(content: object) -> Damage:
    return lambda out: (out / "manifest.json").write_text(content if isinstance(content, str) else json.dumps(content))


REFUSED: dict[str, tuple[Damage, str]] = {
    "no manifest": (lambda out: (out / "manifest.json").unlink(), r"without a manifest.*: choose another directory"),
    "an empty manifest": (foreign(""), r"manifest\.json is damaged .*start over in a new directory"),
    "half a manifest": (foreign('{"model": {"name": "Thr'), r"manifest\.json is damaged"),
    "a deep manifest": (foreign("[" * 200_000), r"manifest\.json is damaged"),
    "no object": (foreign([1]), r"manifest\.json is damaged \(it holds no JSON object"),
    "a manifest of mining": (foreign({"name": "x", "run": {}, "networks": {}}), r"manifest\.json cannot be used"),
    "a manifest under corruptions": (foreign({"measures": "corruptions"}), "holds a run over corrupted images"),
    "a manifest of a copy": (foreign({"measures": "nothing: a corrupted copy", "schema": 1}), "cannot be used"),
    "a text for a database": (
        lambda out: (out / "outcomes.sqlite").write_text("no database" * 1000),
        r"the database in .* is damaged .*: delete its outcomes\.sqlite to have all of the run done anew",
    ),
    "a database of something else": (
        lambda out: [query(out, "DROP TABLE outcomes"), query(out, "CREATE TABLE outcomes (mine TEXT)")],
        r"is not one of this version of robustlab .*: delete its outcomes\.sqlite",
    ),
}


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: name.replace(" ", "-"))
def test_what_cannot_be_mended_is_refused_and_the_advice_helps(
    name: str, made: Made, threshold: Threshold, points: type[Points], readable: Path
) -> None:
    shutil.copytree(made("finished", threshold, points(100)), readable)
    damage, message = REFUSED[name]
    damage(readable)
    with pytest.raises(RunError, match=message):
        run(threshold, points(100), readable)
    if "outcomes" in message:
        (readable / "outcomes.sqlite").unlink()
        run(threshold, points(100), readable)
        assert rows(readable) == rows(made("finished", threshold, points(100)))


def test_pages_of_a_database_that_were_written_over_are_never_believed(
    made: Made, threshold: Threshold, points: type[Points], tmp_path: Path
) -> None:
    whole = made("finished", threshold, points(100))
    size = (whole / "outcomes.sqlite").stat().st_size
    for place in range(4096, size, 4096 * 3):
        out = tmp_path / str(place)
        shutil.copytree(whole, out)
        content = bytearray((out / "outcomes.sqlite").read_bytes())
        content[place : place + 300] = b"\xff" * 300
        (out / "outcomes.sqlite").write_bytes(bytes(content))
        try:
            found = run(threshold, points(100), out)
        except RunError as error:
            if "is damaged" not in str(error):
                raise
            continue
        assert numbers(found) == numbers(read_run(whole))
        assert rows(out) == rows(whole)


@pytest.mark.parametrize(
    "files", [("report.json",), ("report.json", "report.html"), ("corruptions.json",), ("natural.json",)]
)
def test_a_result_without_a_manifest_is_nobodys(
    files: tuple[str, ...], made: Made, threshold: Threshold, points: type[Points], readable: Path
) -> None:
    readable.mkdir()
    for name in files:
        shutil.copy(made("other", threshold, points(100)) / "report.json", readable / name)
    with pytest.raises(RunError, match=rf"holds {files[0]} without a manifest.*: choose another directory"):
        run(threshold, points(100), readable)
    assert not (readable / "manifest.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("state", ["finished", "half"])
@pytest.mark.parametrize(
    ("names", "refused"),
    [
        (("manifest.json",), "holds another run"),
        (("manifest.json", "report.json"), "holds another run"),
        (("report.json",), ""),
        (("adversarial",), ""),
        (("adversarial", "report.json"), ""),
        (("outcomes.sqlite",), r"outcomes\.sqlite belongs to another run than the manifest\.json"),
        (("outcomes.sqlite", "report.json", "adversarial"), r"outcomes\.sqlite belongs to another run"),
    ],
)
def test_files_of_another_run_are_never_believed(
    state: str,
    names: tuple[str, ...],
    refused: str,
    made: Made,
    threshold: Threshold,
    points: type[Points],
    readable: Path,
) -> None:
    whole, other = (made(name, threshold, points(100)) for name in ("finished", "other"))
    shutil.copytree(made(state, threshold, points(100)), readable)
    for name in names:
        if (other / name).is_dir():
            shutil.copytree(other / name, readable / name, dirs_exist_ok=True)
        else:
            shutil.copy(other / name, readable / name)
    if refused:
        with pytest.raises(RunError, match=refused):
            run(threshold, points(100), readable)
        return
    assert numbers(run(threshold, points(100), readable)) == numbers(read_run(whole))
    assert rows(readable) == rows(whole)


def test_reading_believes_only_what_the_run_wrote(
    made: Made, threshold: Threshold, points: type[Points], readable: Path
) -> None:
    whole, other = (made(name, threshold, points(100)) for name in ("finished", "other"))
    shutil.copytree(whole, readable)
    query(readable, "UPDATE outcomes SET fooled = 0 WHERE eps = 0.1")
    with pytest.raises(RunError, match="are not those that the run wrote: run evaluate again"):
        compare(readable, other)
    with pytest.raises(RunError, match="are not those that the run wrote"):
        compare(other, readable)
    shutil.copy(other / "adversarial" / "gallery.safetensors", readable / "adversarial")
    flipped(readable / "adversarial" / "gallery.safetensors")
    found = read_run(readable)
    with pytest.raises(RunError, match=r"gallery\.safetensors is not what the run wrote"):
        pictures(found, found.gallery)
    shutil.copy(other / "report.json", readable)
    with pytest.raises(RunError, match=r"report\.json is not what the run wrote: run the evaluation again"):
        read_run(readable)
    run(threshold, points(100), readable)
    assert compare(readable, other) == compare(whole, other)


def test_rows_that_are_changed_while_the_run_goes_on_are_noticed(
    threshold: Threshold, points: type[Points], readable: Path
) -> None:
    def change(at: Progress) -> None:
        if at.metrics.get("rechecked"):
            query(readable, "DELETE FROM outcomes WHERE fooled = 1 AND eps = 0.05")

    settings = Settings(batch_size=20, doctor=False, progress=change)
    attacks, eps = [FGSM(THREAT)], [0.05, 0.1]
    with pytest.raises(RunError, match="were changed by another program during the run"):
        evaluate(threshold, points(100), attacks=attacks, eps=eps, n=40, out=readable, settings=settings)
    assert not (readable / "report.json").exists()
    run(threshold, points(100), readable)


def test_a_report_leaves_the_results_of_runs_alone(
    made: Made, threshold: Threshold, points: type[Points], tmp_path: Path
) -> None:
    for name in ("finished", "other"):
        shutil.copytree(made(name, threshold, points(100)), tmp_path / name)
    before = (tmp_path / "finished" / "report.json").read_bytes()
    one, two = (read_run(tmp_path / name) for name in ("finished", "other"))
    for evaluations in ([two], [one, two]):
        with pytest.raises(RunError, match="is the directory of a run of its own: choose another one"):
            write(evaluations, tmp_path / "finished")
    page = write([one], tmp_path / "finished", title="By hand")
    assert "By hand" in page.read_text()
    assert (tmp_path / "finished" / "report.json").read_bytes() == before
    write([one], tmp_path / "page")
    with pytest.raises(RunError, match=r"holds report\.json without a manifest"):
        run(threshold, points(100), tmp_path / "page")
