"""A directory is begun once, and goes on only as what it was begun as."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from robustlab.core import RunError
from robustlab.runs.identity import check_same
from robustlab.runs.json_files import read_json
from robustlab.runs.lock import alone
from robustlab.runs.resume import MANIFEST, create_or_resume


def taken(directory: Path, **essentials: object) -> dict[str, object] | None:
    with alone(directory):
        return create_or_resume(
            directory,
            essentials,
            read=lambda place: read_json(place / MANIFEST),
            check=partial(_check, directory, essentials),
        )


def _check(directory: Path, here: dict[str, object], there: dict[str, object]) -> None:
    check_same(directory, there, here)


def test_a_new_directory_begins_with_its_manifest_and_goes_on_with_it(tmp_path: Path) -> None:
    assert taken(tmp_path / "run", seed=1) is None
    (tmp_path / "run" / "rows").write_text("some")
    assert taken(tmp_path / "run", seed=1) == {"seed": 1}
    with pytest.raises(RunError, match=r"run holds another run \(seed 1 there, 2 here\): choose another directory"):
        taken(tmp_path / "run", seed=2)
    assert json.loads((tmp_path / "run" / MANIFEST).read_text()) == {"seed": 1}


def test_what_is_no_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match=r"holds thesis\.tex without a manifest: choose another directory"):
        taken(tmp_path, seed=1)
    (tmp_path / "thesis.tex").unlink()
    (tmp_path / MANIFEST).write_text("{half")
    with pytest.raises(RunError, match=r"manifest\.json is damaged .*start over in a new directory"):
        taken(tmp_path, seed=1)
    assert (tmp_path / MANIFEST).read_text() == "{half"


def test_a_process_killed_before_the_manifest_was_in_place_leaves_a_new_directory(tmp_path: Path) -> None:
    (tmp_path / f"{MANIFEST}.0123456789ab.part").write_text('{"seed"')
    assert taken(tmp_path, seed=1) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", MANIFEST]
