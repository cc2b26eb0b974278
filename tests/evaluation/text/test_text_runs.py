"""Run directories of attacks on texts: resumed after any end, checked against their digests, never reported wrong."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from text_toys import FREE, GREEDY, RANDOM, VICTIM, sentences  # type: ignore[import-not-found]

from robustlab.core import RunError
from robustlab.evaluation import (
    TextSettings,
    evaluate_text,
    is_text_run,
    read_run,
    read_texts,
    text_outcomes_of,
)
from robustlab.evaluation.text.meaning import Meaning
from robustlab.text import Victim

HERE = Path(__file__).parent
SETTINGS = TextSettings(batch_size=20, command="test", meaning=None)


def run(out: Path, **changes: object) -> object:
    given = {"victim": VICTIM, "data": sentences(), "recipes": [GREEDY, FREE], "settings": SETTINGS, **changes}
    return evaluate_text(given.pop("victim"), given.pop("data"), out=out, **given)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_rows(tmp_path: Path) -> None:
    points = 6
    done = subprocess.run(
        [sys.executable, HERE / "killed_texts.py", tmp_path, str(points)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(HERE), str(HERE.parent)])},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == 3 * 50
    assert len(found["failures"]) > points
    assert {name: wrong for name, wrong in found["failures"].items() if wrong} == {}


def test_a_finished_run_is_read_and_not_repeated(tmp_path: Path) -> None:
    first = run(tmp_path / "run")

    def never(_: object) -> object:
        raise AssertionError("the victim was called for a finished run")

    again = run(tmp_path / "run", victim=replace(VICTIM, predict=never), settings=replace(SETTINGS, doctor=False))
    assert again == first == read_texts(tmp_path / "run")
    assert is_text_run(tmp_path / "run")


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE texts SET status = 'failed' WHERE attack = 0 AND status = 'successful'",
        "UPDATE texts SET adversarial = '\"x\"' WHERE attack = 1 AND id = 3",
        "UPDATE examples SET label = 1 - label WHERE id = 5",
        "DELETE FROM texts WHERE attack = 1 AND id = 4",
        "DELETE FROM batches WHERE attack = 1",
        "INSERT INTO audits VALUES (0, 1, 1, 0.5)",
    ],
)
def test_edited_outcomes_are_refused_by_readers_and_redone_by_the_run(edit: str, tmp_path: Path) -> None:
    first = run(tmp_path)
    database = sqlite3.connect(tmp_path / "outcomes.sqlite")
    database.execute(edit)
    database.commit()
    database.close()
    with pytest.raises(RunError, match="not those that the run wrote"):
        list(text_outcomes_of(tmp_path))
    again = run(tmp_path)
    assert again.results[0].accuracy == first.results[0].accuracy  # type: ignore[attr-defined]
    assert again.results[1].success == first.results[1].success  # type: ignore[attr-defined]
    assert again.clean.accuracy == first.clean.accuracy  # type: ignore[attr-defined]
    assert len(list(text_outcomes_of(tmp_path))) == 2 * 60


def test_an_edited_report_is_refused_and_written_anew(tmp_path: Path) -> None:
    first = run(tmp_path)
    path = tmp_path / "report.json"
    path.write_text(path.read_text().replace('"successful": ', '"successful": 9'))
    with pytest.raises(RunError, match="is not what the run wrote"):
        read_texts(tmp_path)
    assert run(tmp_path).results[0].success == first.results[0].success  # type: ignore[attr-defined]
    assert read_texts(tmp_path).worst == first.worst  # type: ignore[attr-defined]


def _other(texts: object) -> object:
    return VICTIM.predict(texts)


OTHERS = {
    "victim": ({"victim": Victim(_other, 2, "other", "function:other")}, "victim function:sums there"),  # type: ignore[arg-type]
    "data": ({"data": sentences(seed=1)}, "data "),
    "recipes": ({"recipes": [GREEDY, RANDOM]}, "recipe 2 "),
    "seed": ({"settings": replace(SETTINGS, seed=3)}, "seed 0 there, 3 here"),
    "budget": ({"settings": replace(SETTINGS, queries=9)}, "queries any number there, 9 here"),
    "n": ({"n": 30}, "number of examples 60 there, 30 here"),
}


@pytest.mark.parametrize(("changes", "words"), OTHERS.values(), ids=OTHERS.keys())
def test_another_run_is_refused_with_the_difference(changes: dict[str, object], words: str, tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(RunError, match=words):
        run(tmp_path, **changes)


def test_a_recipe_with_other_parts_is_another_run(tmp_path: Path) -> None:
    run(tmp_path)
    other = replace(FREE, transformations=(replace(FREE.transformations[0], table=(("good", ("ok",)),)),))
    with pytest.raises(RunError, match="recipe 2"):
        run(tmp_path, recipes=[GREEDY, other])


def test_runs_of_other_kinds_are_told_apart(tmp_path: Path) -> None:
    run(tmp_path / "texts")
    with pytest.raises(RunError, match="holds a run of attacks on texts"):
        read_run(tmp_path / "texts")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text("{}")
    with pytest.raises(RunError, match="holds no run of attacks on texts"):
        read_texts(tmp_path / "other")
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "report.json").write_text("{}")
    with pytest.raises(RunError, match=r"holds report\.json without a manifest"):
        run(tmp_path / "stray")


def test_an_unfinished_run_has_no_result(tmp_path: Path) -> None:
    run(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "sealed": {}}))
    with pytest.raises(RunError, match="is not finished"):
        read_texts(tmp_path)


@pytest.mark.parametrize("damage", [{"schema": 2}, {"recipes": []}, {"recipes": [{}]}, {"level": "high"}])
def test_a_damaged_manifest_is_refused(damage: dict[str, object], tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(RunError, match="cannot be used"):
        read_texts(tmp_path)


def test_meaning_is_measured_later_from_the_same_rows(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert first.results[0].audit.turned is None  # type: ignore[attr-defined]
    known = Meaning(lambda word: {"good": 2.0, "bad": -2.0}.get(word, 0.0), opinion_version="toy")
    later = run(tmp_path, settings=replace(SETTINGS, meaning=known))
    audit = later.results[1].audit  # type: ignore[attr-defined]
    won = [one for one in text_outcomes_of(tmp_path) if one.recipe == "free" and one.status == "successful"]
    turned = [one for one in won if "bad" in one.original and "good" in dict(one.edits).values()]
    assert audit.turned.n == later.results[1].successful  # type: ignore[attr-defined]
    assert 0 < audit.turned.count <= len(turned)
    assert later.results[1].success == first.results[1].success  # type: ignore[attr-defined]
    without = run(tmp_path)  # what is known stays known
    assert without.results[1].audit == audit  # type: ignore[attr-defined]


def test_every_character_survives(tmp_path: Path) -> None:
    odd = ["good \ud800 film", "a \u202egood\u202c \U0001f469\u200d\U0001f4bb", "bad\x00 \x1b[31mfilm", 'so "fine"\n\\']
    evaluate_text(VICTIM, (odd, [1, 1, 0, 1]), recipes=[GREEDY], out=tmp_path, settings=SETTINGS)
    assert [one.original for one in text_outcomes_of(tmp_path)] == odd
