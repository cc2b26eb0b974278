"""Files are replaced in one step or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from robustlab.runs.files import replace_atomically, with_usual_rights


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
