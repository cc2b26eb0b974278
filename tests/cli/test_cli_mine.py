"""robustlab mine: a dry run, going on, wrong use."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from robustlab.cli.main import built
from robustlab.cli.mine import EXAMPLE

Command = Callable[..., Any]
DRY = "mine digits --quick --limit 80 --folds 2 --model batchnorm-cnn --held-out inverted-cnn --device cpu --out mined"


@pytest.mark.slow
def test_a_dry_run_says_what_it_found_and_is_not_done_twice(command: Command, place: Path) -> None:
    done = command(*DRY.split())
    assert done.code == 0, done.err
    assert "digits all (80 of 1797)" in done.out
    assert "batchnorm-cnn gets " in done.out
    assert "inverted-cnn, which had no vote, is right about " in done.out
    assert "are not results" in done.err
    kept = {path: path.stat().st_mtime_ns for path in (place / "mined").glob("*/fold-*.safetensors")}
    assert sorted(path.parent.name for path in kept) == ["batchnorm-cnn"] * 2 + ["inverted-cnn"] * 2
    again = command(*DRY.split(), "--json")
    assert json.loads(again.out)["folds"] == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_ctrl_c_says_how_to_go_on(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from robustlab.studies.claim_engine.lab import Lab

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lab, "trained", stopped)
    done = command("mine", "digits", "--model", "batchnorm-cnn")
    assert done.code == 130
    assert "resume with: robustlab mine digits --model batchnorm-cnn --out runs/mining" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("mine nothing", "no data set is called 'nothing'"),
        ("mine digits --folds 1", "--folds"),
        ("mine digits --limit 12 --folds 9", "so that it would be absent from some of 9 folds"),
        ("mine digits --limit 5 --folds 9", "5 examples cannot be dealt out to 9 folds"),
        ("mine digits --below 0", "below is a probability of the label, in (0, 1], got 0.0"),
        ("mine digits --model magic --quick", "no model is called 'magic'"),
        ("mine digits --model batchnorm-cnn --held-out batchnorm-cnn", "cannot both vote and be held out"),
    ],
)
def test_wrong_use_is_one_line(words: str, message: str, command: Command) -> None:
    done = command(*words.split())
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert message in done.err


def test_example_in_the_help_is_valid() -> None:
    one = get_command(built()).commands["mine"]  # type: ignore[attr-defined]  # the app is a group of commands
    assert one.epilog == f"Example: {EXAMPLE}"
    one.make_context("mine", shlex.split(EXAMPLE)[2:])
