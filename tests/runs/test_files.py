"""Files are replaced in one step or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from robustlab.runs.files import replace_atomically, sweep, whole_folder, with_usual_rights, write_bytes
from robustlab.runs.tensors import save_tensors, tensors_in


def _write(text: str, part: Path) -> None:
    part.write_text(text)


def test_the_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    for text in ("old", "new"):
        replace_atomically(path, partial(_write, text))
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_breaks_off_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def breaks_off(part: Path) -> None:
        part.write_text("half")
        assert path.read_text() == "old"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        replace_atomically(path, breaks_off)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _owners_alone(part: Path) -> None:
    """As safetensors does: a private file that takes the place of what is there."""
    private = part.with_name("private")
    os.close(os.open(private, os.O_CREAT | os.O_WRONLY, 0o600))
    private.replace(part)


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
@pytest.mark.parametrize("write", [replace_atomically, with_usual_rights])
def test_a_file_has_the_rights_of_any_other_new_file(tmp_path: Path, write: Callable[..., None]) -> None:
    usual = tmp_path / "usual"
    before = os.umask(0o027)
    try:
        usual.write_text("")
        write(tmp_path / "file", _owners_alone)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode == usual.stat().st_mode
    assert usual.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["file", "folder"])
def test_half_written_things_are_swept_and_nothing_else(tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    home = tmp_path / "home"
    for folder in (elsewhere, home, home / "inner"):
        folder.mkdir()
    (home / "link").symlink_to(elsewhere)
    half = "x.json.0123456789ab.part" if name == "file" else ".x.0123456789ab.part"
    (home / "inner" / "deep" / "deeper").mkdir(parents=True)
    for path in (home / half, home / "inner" / half, home / "inner" / "deep" / "deeper" / half, elsewhere / half):
        path.write_text("") if name == "file" else (path / "deep").mkdir(parents=True)
    for kept in ("x.part", "part", "x.0123456789ab.part.json"):
        (home / kept).write_text("mine")
    sweep(home, "y.")
    assert (home / half).exists(), "of another name"
    sweep(home)
    assert {path.name for path in home.iterdir()} == {"inner", "link", "x.part", "part", "x.0123456789ab.part.json"}
    assert {path.name for path in (home / "inner").rglob("*")} == {"deep", "deeper"}
    assert (elsewhere / half).exists(), "behind a link that leads out"


def test_a_folder_comes_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "folder"

    def breaks_off() -> None:
        with whole_folder(place) as part:
            (part / "a.txt").write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        breaks_off()
    assert not list(place.parent.iterdir())
    with whole_folder(place) as part:
        (part / "inner").mkdir()
        (part / "inner" / "a.txt").write_text("whole")
        assert not place.exists()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.txt")] == ["deep/folder/inner/a.txt"]


@pytest.mark.parametrize("durable", [True, False])
def test_what_shall_survive_the_machine_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(os, "fsync", waited.append)
    write_bytes(tmp_path / "one", b"1", durable=durable)
    with whole_folder(tmp_path / "two", durable=durable) as part:
        (part / "a").write_text("2")
    assert len(waited) == (2 if durable else 0)


def test_tensors_that_no_file_can_hold_are_an_error_of_writing(tmp_path: Path) -> None:
    shared = torch.zeros(4)
    with pytest.raises(OSError, match="share memory"):
        save_tensors(tmp_path / "x", {"a": shared, "b": shared})
    assert not list(tmp_path.iterdir())
    (tmp_path / "x").write_bytes(b"no tensors at all")
    with pytest.raises(ValueError, match=r"(?i)header"):
        tensors_in(tmp_path / "x")


@pytest.mark.parametrize("texts", [None, {}, {"a": "b"}])
def test_a_file_of_tensors_is_the_one_that_safetensors_would_write(
    tmp_path: Path, texts: dict[str, str] | None
) -> None:
    from safetensors.torch import save

    save_tensors(tmp_path / "x", {"w": torch.ones(2)}, texts)
    assert (tmp_path / "x").read_bytes() == save({"w": torch.ones(2)}, metadata=texts)
    assert tensors_in(tmp_path / "x")[1] == (texts or {})
