"""Run directories under corruptions that somebody damaged: made whole again, or refused in one sentence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from robustlab.core import RunError
from robustlab.evaluation import (
    CorruptionEvaluation,
    CorruptionSettings,
    Progress,
    compare_corruptions,
    corruption_pictures,
    evaluate_corruptions,
    read_corruptions,
)
from robustlab.report import write_corruptions

Damage: TypeAlias = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()


def run(out: Path, seed: int = 0, stop_after: int = 0) -> CorruptionEvaluation:
    x = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    left = [stop_after]

    def stop(_: Progress) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    how = CorruptionSettings(batch_size=8, progress=stop)
    data = (x, torch.arange(24) % 3)
    return evaluate_corruptions(model(seed), data, corruptions=["contrast"], severities=[1, 5], out=out, settings=how)


def half(out: Path, seed: int = 0) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(out, seed, stop_after=5)


def answers(out: Path) -> dict[str, list[Any]]:
    return {n: t.tolist() for n, t in load_file(out / "answers.safetensors").items() if n not in ("seconds", "check")}


def counts(found: CorruptionEvaluation) -> list[object]:
    return [found.clean and found.clean.accuracy, found.errors, *(cell.accuracy for cell in found.cells)]


def edited(path: Path, name: str) -> None:
    tensors = load_file(path)
    tensors[name] = 1 - tensors[name]
    save_file(tensors, path)


def record(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = json.loads((out / "corruptions.json").read_text())
    change(found)
    (out / "corruptions.json").write_text(json.dumps(found))


FINISHED: dict[str, Damage] = {
    "no answers": lambda out: (out / "answers.safetensors").unlink(),
    "answers cut": lambda out: (out / "answers.safetensors").write_bytes(b"no answers"),
    "other predictions": lambda out: edited(out / "answers.safetensors", "prediction"),
    "other labels": lambda out: edited(out / "answers.safetensors", "label"),
    "answers without a signature": lambda out: save_file(
        {n: t for n, t in load_file(out / "answers.safetensors").items() if n != "check"}, out / "answers.safetensors"
    ),
    "no pictures": lambda out: (out / "gallery.safetensors").unlink(),
    "other pictures": lambda out: edited(out / "gallery.safetensors", "x"),
    "no record": lambda out: (out / "corruptions.json").unlink(),
    "an empty record": lambda out: (out / "corruptions.json").write_text(""),
    "a record of other numbers": lambda out: record(out, lambda found: found["cells"][0]["accuracy"].update(count=24)),
    "a record of another run": lambda out: record(out, lambda found: found["run"].update(id="another")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FINISHED)
def test_a_damaged_run_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    expected = run(whole)
    shutil.copytree(whole, out)
    FINISHED[name](out)
    if "record" in name:
        with pytest.raises(RunError, match=r"is not what the run wrote: run the evaluation again|is not finished"):
            read_corruptions(out)
    assert counts(run(out)) == counts(expected)
    assert answers(out) == answers(whole)
    assert (out / "gallery.safetensors").read_bytes() == (whole / "gallery.safetensors").read_bytes()
    assert counts(read_corruptions(out)) == counts(expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["answers.safetensors", "answers", "corruptions.json", "gallery.safetensors"])
def test_files_of_another_run_are_never_believed(name: str, tmp_path: Path) -> None:
    expected = run(tmp_path / "whole")
    start, out = half if name == "answers" else run, tmp_path / "run"
    start(out)
    start(tmp_path / "other", 1)
    if name == "answers":
        shutil.copytree(tmp_path / "other" / name, out / name, dirs_exist_ok=True)
    else:
        shutil.copy(tmp_path / "other" / name, out / name)
    assert counts(run(out)) == counts(expected)
    assert answers(out) == answers(tmp_path / "whole")
    with pytest.raises(RunError, match="holds another run"):
        run(out, 1)


def test_reading_believes_only_what_the_run_wrote(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one"), run(tmp_path / "two", 1)
    edited(tmp_path / "two" / "answers.safetensors", "prediction")
    edited(tmp_path / "two" / "gallery.safetensors", "x")
    with pytest.raises(RunError, match=r"answers\.safetensors is not what this run wrote: run the evaluation again"):
        compare_corruptions(one, two)
    with pytest.raises(RunError, match=r"gallery\.safetensors is not what the run wrote"):
        corruption_pictures(two, two.gallery)
    with pytest.raises(RunError, match="is the directory of a run of its own"):
        write_corruptions([one], tmp_path / "two")
    write_corruptions([one], tmp_path / "page")
    (tmp_path / "page" / "report.html").unlink()
    with pytest.raises(RunError, match=r"holds .* without a manifest"):
        run(tmp_path / "page")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 2}', '{"name": "x", "run": {}, "networks": {}}'])
def test_a_manifest_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match=r"manifest\.json|holds no run over corrupted images"):
        run(tmp_path)


def older(out: Path) -> None:
    """Makes a run directory what an older version would have written."""
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["sealed"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    tensors = load_file(out / "answers.safetensors")
    save_file({n: t for n, t in tensors.items() if n != "check"}, out / "answers.safetensors")


@pytest.mark.parametrize("damage", [None, "prediction", "ids"])
def test_runs_of_an_older_version_are_read_and_checked_against_their_record(damage: str | None, tmp_path: Path) -> None:
    expected = run(tmp_path)
    older(tmp_path)
    assert replace(read_corruptions(tmp_path), directory=None).to_json() == expected.to_json()
    if damage is not None:
        edited(tmp_path / "answers.safetensors", damage)
    found = run(tmp_path)
    assert counts(found) == counts(expected)
    assert found.run.sessions == (1 if damage is None else 2)
    assert counts(read_corruptions(tmp_path)) == counts(expected)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_record_by_its_older_name_is_read_and_renamed_when_the_run_is_taken_up(sealed: bool, tmp_path: Path) -> None:
    expected = run(tmp_path)
    (tmp_path / "corruptions.json").rename(tmp_path / "natural.json")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["sealed"]["natural.json"] = manifest["sealed"].pop("corruptions.json")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    if not sealed:
        older(tmp_path)
    assert replace(read_corruptions(tmp_path), directory=None).to_json() == expected.to_json()
    found = run(tmp_path)
    assert counts(found) == counts(expected)
    assert (tmp_path / "corruptions.json").exists()
    assert not (tmp_path / "natural.json").exists()
    assert read_corruptions(tmp_path) == found


def test_a_changed_record_by_its_older_name_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    record(tmp_path, lambda found: found["cells"][0]["accuracy"].update(count=24))
    (tmp_path / "corruptions.json").rename(tmp_path / "natural.json")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["sealed"]["natural.json"] = manifest["sealed"].pop("corruptions.json")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"natural\.json is not what the run wrote"):
        read_corruptions(tmp_path)
