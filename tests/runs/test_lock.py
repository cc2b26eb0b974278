"""One process at a time works in a directory."""

from __future__ import annotations

import errno
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from robustlab.core import RunError
from robustlab.runs.lock import LOCK, alone, locked

HOLDS = """
import sys, time
from pathlib import Path
from filelock import FileLock
with FileLock(Path(sys.argv[1]) / ".lock"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=r"another process is writing to .*wait until it ends, or choose"):  # noqa: SIM117
            with alone(tmp_path):
                pytest.fail("held by another")
        (tmp_path / "half.0123456789ab.part").write_text("")
        other.send_signal(signal.SIGKILL)
    with alone(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_it_waits_for_the_given_time(tmp_path: Path) -> None:
    order: list[str] = []

    def holds() -> None:
        with alone(tmp_path):
            order.append("first")
            time.sleep(0.2)
            order.append("first ends")

    first = threading.Thread(target=holds)
    first.start()
    while not order:
        time.sleep(0.01)
    with pytest.raises(RunError, match=r"\(waited 0 s\)"), alone(tmp_path, wait=0.01):
        pytest.fail("held by another")
    with alone(tmp_path, wait=math.inf):
        order.append("second")
    first.join()
    assert order == ["first", "first ends", "second"]


def test_a_link_to_another_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="is a link that leads out"), alone(home):
        pytest.fail("led out")
    assert not (tmp_path / "elsewhere").exists()


def test_what_nobody_can_write_needs_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = Path.mkdir

    def refuse(self: Path, *args: object, **how: object) -> None:
        if self.name == "theirs":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        real(self, *args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", refuse)
    place = tmp_path / "theirs"
    with (
        pytest.raises(RunError, match=r"theirs cannot be written to .*Read-only.* choose another directory"),
        alone(place),
    ):
        pytest.fail("cannot be written")
    with pytest.raises(RunError, match="cannot be written to"), locked(place / LOCK, place):
        pytest.fail("cannot be written")
    with caplog.at_level(logging.WARNING), locked(place / LOCK, place, needed=False):
        pass
    assert "no lock at" in caplog.text
