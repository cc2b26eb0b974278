"""Output on terminals of any width and into pipes: no cell is cut, no name is changed, the volume is as set."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from robustlab.cli import show
from robustlab.core.words import budget
from robustlab.runs import Progress

Command = Any
HEAD = ["run", "model", "data", "n", "clean", "robust", "at"]
ROWS = [
    [
        "runs/20261128-190000-fm-m-digits",
        "fm:m",
        "fashion-mnist test",
        "120",
        "89.2 %",
        "31.7 % [23.5, 40.8]",
        "Linf 8/255",
    ],
    ["runs/[red]b[/red]", "a:smile:b", "folder of photographs", "10000", "100.0 %", "0.0 % [0.0, 3.0]", "L2 0.5"],
]


def at(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=width, highlight=False, emoji=False)
    monkeypatch.setattr(show, "_console", lambda *, stderr: console)  # noqa: ARG005


@pytest.mark.parametrize("width", [200, 100, 80, 60, 40, 30])
def test_no_cell_is_cut_at_any_width(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at(width, monkeypatch)
    show.table(HEAD, ROWS)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    for row in ROWS:
        for word in " ".join(row[1:]).split():
            assert re.search(rf"(?<!\S){re.escape(word)}(?!\S)", out), f"{word} is cut at {width}"
    assert re.sub(r"\s", "", ROWS[0][0]) in re.sub(r"\s", "", out) or "20261128" in out


def test_a_pipe_has_a_line_for_each_row() -> None:
    program = f"from robustlab.cli import show\nshow.table({HEAD!r}, {ROWS!r})"
    plain = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=plain)
    lines = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines() if line.strip()]
    assert lines[0] == HEAD
    assert lines[2:] == ROWS


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show._console, "cache_clear", show._console.cache_clear, raising=False)
    show._console.cache_clear()
    names = "fm:m :smile: [red]x[/red] :warning: /tmp/[bold]a"
    show.say(names)
    show.paragraph(names, [names])
    captured = capsys.readouterr()
    assert captured.err == f"{names}\n"
    assert captured.out == f"{names}\n  {names}\n"


def test_how_much_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("robustlab.somewhere")
    outputs = []
    for level in (0, 1, 2):
        show.volume(level)
        show.say("a remark")
        show.say("a warning", "warning")
        logger.info("a detail")
        with show.bars() as bar:
            bar(Progress("work", 1, 1, detail="done"))
        outputs.append(capsys.readouterr().err)
    show.volume(1)
    assert outputs[0] == "Warning: a warning\n"
    assert "a remark" in outputs[1]
    assert "a detail" not in outputs[1]
    assert "a detail" in outputs[2]
    assert "work" in outputs[2]


@pytest.mark.parametrize("where", [0, 1, 3])
def test_quiet_works_anywhere(where: int, command: Command, place: Path) -> None:
    assert place.is_dir()
    words = ["doctor", "tiny:means", "--data", "digits", "--limit", "12", "--attack", "fgsm", "--eps", "0.1"]
    words.insert(where, "--quiet")
    done = command(*words)
    assert done.code == 0
    assert done.out
    assert not done.err or set(re.findall(r"^\w+:", done.err, flags=re.MULTILINE)) <= {"Warning:"}


def test_a_shell_can_complete() -> None:
    env = {**os.environ, "_ROBUSTLAB_COMPLETE": "complete_bash", "COMP_WORDS": "robustlab eva", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-m", "robustlab"], capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["evaluate"], "")


@pytest.mark.parametrize(
    "typed", ["8/255", "1/3", "0.1", "0.0625", "2/510", "16/255", "0.5", "12", "3/7", "1/1000", "0.031", "0.3141592"]
)
def test_eps_is_shown_as_it_was_typed(typed: str) -> None:
    above, _, below = typed.partition("/")
    eps = float(above) / float(below or 1)
    assert budget(eps) == {"2/510": "1/255", "1/1000": "0.001", "0.3141592": "0.314159"}.get(typed, typed)
