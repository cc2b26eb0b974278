"""Files are replaced in one step or not at all."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from robustlab.core.files import replace_atomically


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
