"""Ends from outside: an interrupt is 130 at any moment, and a process that loses its fellow says so."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robustlab.cli import interrupt

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are other ones there")


@pytest.fixture(autouse=True)
def heeded_interrupts() -> Iterator[None]:
    """Lets SIGINT interrupt, also where the tests run in the background of a shell, which ignores it there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


Command = Any
AT_IMPORT = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(20)
except BaseException:
    raise RecursionError("what torch says when it is half loaded")
"""
IN_FUNCTION = """
import os, signal, time
from tiny import Means

def swallows():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
    except BaseException:
        raise RecursionError("of something else")

class Late(Means):
    def forward(self, x):
        if x.requires_grad:
            swallows()
        return super().forward(x)
"""
EVALUATE = "--data digits --limit 12 --attack fgsm --eps 0.1 --fail-under 0 --out run"


def started(words: str, folder: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "robustlab", *words.split()], cwd=folder, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
def test_an_interrupt_while_modules_are_loaded_is_nothing_but_an_interrupt(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(AT_IMPORT)
    process = started(f"evaluate half:model {EVALUATE}", tmp_path)
    assert process.communicate(timeout=120) == ("", "Stopped.\n")
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.2, 3.0])
def test_an_interrupt_at_any_moment_is_130(place: Path, seconds: float) -> None:
    process = started(f"evaluate tiny:means {EVALUATE.replace('fgsm', 'apgd')}", place, SLOW="0.2")
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert "Traceback" not in message


@pytest.mark.parametrize("model", ["swallows", "Late"])
def test_an_interrupt_that_comes_out_as_something_else_is_one(model: str, command: Command, place: Path) -> None:
    (place / "theirs.py").write_text(IN_FUNCTION)
    sys.modules.pop("theirs", None)
    before = signal.getsignal(signal.SIGINT)
    done = command("evaluate", f"theirs:{model}", *EVALUATE.split())
    assert (done.code, done.out) == (130, "")
    assert "Traceback" not in done.err
    if model == "Late":
        assert done.err.endswith(f"resume with: robustlab evaluate theirs:Late {EVALUATE}\n")
    assert signal.getsignal(signal.SIGINT) is before
    assert not interrupt.interrupted()


def test_ignored_interrupts_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt.taken():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_a_process_whose_fellow_died_says_so_in_one_line(place: Path) -> None:
    (place / "theirs.py").write_text(
        "import os, signal\nfrom tiny import Means\n\nclass Dies(Means):\n    def forward(self, x):\n"
        "        if x.requires_grad and os.environ['RANK'] == '1':\n            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().forward(x)\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    words = f"evaluate theirs:Dies {EVALUATE} --batch-size 4"
    both = [started(words, place, RANK=str(rank), **world) for rank in (0, 1)]
    out, message = both[0].communicate(timeout=300)
    both[1].communicate(timeout=300)
    assert [one.returncode for one in both] == [2, -signal.SIGKILL]
    assert not out
    last = message.splitlines()[-1]
    assert last.startswith("Error: another process of this run has ended")
    assert "Traceback" not in message
