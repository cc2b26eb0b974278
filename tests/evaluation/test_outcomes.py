"""A row per example: what stands in it is what the result counts."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from torch import nn

from robustlab.attacks import FGSM, PGD, WorstOf
from robustlab.core import Linf, RunError, ThreatModel
from robustlab.evaluation import Evaluation, Outcome, evaluate, outcomes_of
from robustlab.evaluation.store import reading

AT = ThreatModel(Linf(), 0.3)


def brightness(threshold: float = 0.5) -> nn.Module:
    """Says 1 where an image is brighter than the threshold: it is robust up to its distance from it."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    linear = model[1]
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 12) / 12)
        linear.bias.copy_(torch.tensor([threshold, -threshold]))
    return model


LEVELS = {"dark/0.png": 25, "dark/1.png": 102, "dark/2.png": 178, "light/0.png": 140, "light/1.png": 178}
"""Grey levels: 0.098, 0.4, 0.698 (wrong: too bright for its class), 0.549, 0.698."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, level in LEVELS.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (level, level, level)).save(path)
    return tmp_path / "images"


def run(folder: Path, out: Path | None, **more: object) -> Evaluation:
    from robustlab.data import examples

    attacks = more.pop("attacks", [FGSM(AT)])
    return evaluate(brightness(), examples(folder), attacks=attacks, eps=[0.07, 0.15], out=out)  # type: ignore[arg-type]


def test_rows_say_file_prediction_and_outcome_of_each_example(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run")
    rows = list(outcomes_of(tmp_path / "run"))
    assert [(r.file, r.eps, r.outcome) for r in rows] == [
        ("dark/0.png", 0.07, "robust"),
        ("dark/1.png", 0.07, "robust"),
        ("dark/2.png", 0.07, "misclassified"),
        ("light/0.png", 0.07, "fooled"),
        ("light/1.png", 0.07, "robust"),
        ("dark/0.png", 0.15, "robust"),
        ("dark/1.png", 0.15, "fooled"),
        ("dark/2.png", 0.15, "misclassified"),
        ("light/0.png", 0.15, "fooled"),
        ("light/1.png", 0.15, "robust"),
    ]
    fooled = rows[3]
    assert (fooled.label_name, fooled.clean_prediction, fooled.prediction_name) == ("light", 1, "dark")
    assert fooled.stage == "FGSM"
    assert fooled.linf == pytest.approx(0.07, abs=1e-6)
    assert fooled.l1 == pytest.approx(12 * 0.07, abs=1e-5)
    wrong = rows[2]
    assert math.isnan(wrong.linf)
    assert (wrong.stage, wrong.prediction, wrong.prediction_name) == ("", 1, "light")


def test_rows_count_what_the_result_says(folder: Path, tmp_path: Path) -> None:
    result = run(folder, tmp_path / "run", attacks=[FGSM(AT), PGD(AT, steps=3)])
    rows = list(outcomes_of(tmp_path / "run"))
    for one in result.results:
        mine = [r for r in rows if (r.attack, r.eps) == (one.attack, one.eps)]
        assert len(mine) == result.data.n
        assert sum(r.outcome == "robust" for r in mine) == one.robust.count
        assert sum(r.outcome == "misclassified" for r in mine) == result.data.n - result.clean.accuracy.count


def test_the_stage_is_the_one_that_fooled_also_where_a_smaller_eps_did(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", attacks={"both": WorstOf((FGSM(AT), PGD(AT, steps=2)))})
    found = {(r.file, r.eps): r.stage for r in outcomes_of(tmp_path / "run") if r.outcome == "fooled"}
    assert set(found) == {("light/0.png", 0.07), ("dark/1.png", 0.15), ("light/0.png", 0.15)}
    assert set(found.values()) == {"FGSM"}


def test_a_frame_is_a_list_of_dicts_without_pandas(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    result = run(folder, None)
    frame = result.to_frame()
    assert isinstance(frame, list)
    assert list(frame[0]) == list(Outcome._fields)
    assert len(frame) == 10


def test_a_frame_is_pandas_where_it_is_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = ModuleType("pandas")
    pandas.DataFrame = lambda rows, columns: (len(rows), columns)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert run(folder, None).to_frame() == (10, list(Outcome._fields))


def test_without_a_run_directory_there_are_no_rows(folder: Path, tmp_path: Path) -> None:
    result = Evaluation.from_json(run(folder, tmp_path / "run").to_json())
    with pytest.raises(RunError, match=r"read it with read_run\(directory\)"):
        result.to_frame()


def test_runs_of_before_files_were_named_can_be_read(folder: Path, tmp_path: Path) -> None:
    import json
    import sqlite3

    run(folder, tmp_path / "run")
    database = sqlite3.connect(tmp_path / "run" / "outcomes.sqlite")
    database.execute("DROP TABLE files")
    database.commit()
    database.close()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    del manifest["sealed"]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    assert {r.file for r in outcomes_of(tmp_path / "run")} == {""}


def test_the_gallery_names_the_files(folder: Path, tmp_path: Path) -> None:
    result = run(folder, tmp_path / "run")
    assert {item.source for item in result.gallery} == {"light/0.png", "dark/1.png"}
    with reading(tmp_path / "run") as reader:
        assert dict(reader.all("SELECT id, name FROM files")) == dict(enumerate(LEVELS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "value"), [("eps", [[0.07, 0.15], [0.3]]), ("parts", []), ("attacks", []), ("eps", [[]]), ("parts", [[]])]
)
def test_a_manifest_whose_parts_do_not_belong_together_is_refused(
    folder: Path, tmp_path: Path, field: str, value: object
) -> None:
    run(folder, tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(RunError, match=r"manifest.json cannot be used: (it has|one of its attacks has)"):
        list(outcomes_of(tmp_path / "run"))
