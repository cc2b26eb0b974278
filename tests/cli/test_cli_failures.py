"""Failures of what users bring: one line, exit code 2, no result; a gate passes only with a verdict."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from robustlab.cli.codes import MEANINGS, Code
from robustlab.cli.failures import report
from robustlab.cli.main import main
from robustlab.core import UserCodeError

ROOT = Path(__file__).parents[2]
Command = Any
THEIRS = '''
import asyncio, os, sys, warnings
import torch
from torch import nn
from tiny import Means


class OwnError(BaseException):
    """Nobody's exception."""


ERRORS = {
    "exit": SystemExit(0), "none": SystemExit(None), "assertion": AssertionError("Input (8) doesn't match (224)."),
    "type": TypeError("forward() got an unexpected keyword"), "key": KeyError("logits"), "stop": StopIteration(),
    "cancelled": asyncio.CancelledError(), "generator": GeneratorExit(), "own": OwnError("x"), "memory": MemoryError(),
    "coloured": ValueError("two\\n\\n\\x1b[1mlines\\x1b[0m"), "eof": EOFError(), "os": OSError(2, "No such file"),
    "recursion": RecursionError("maximum recursion depth exceeded"), "warning": UserWarning("as an error"),
}


class Fails(Means):
    """Fails at some calls."""

    def __init__(self, kind, when):
        super().__init__()
        self.kind, self.when, self.calls = kind, when, 0

    def forward(self, x):
        self.calls += 1
        if self.when(self, x):
            raise ERRORS[self.kind]
        return super().forward(x)


class Backward(torch.autograd.Function):
    """Fails in the backward pass."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        raise ERRORS["exit"]


def __getattr__(name):
    when, _, kind = name.partition("_")
    if kind not in ERRORS:
        raise AttributeError(name)
    if when == "factory":
        def make():
            raise ERRORS[kind]
        return make
    asks = {
        "first": lambda model, x: True,
        "later": lambda model, x: model.calls > 3,
        "attack": lambda model, x: x.requires_grad,
        "alone": lambda model, x: model.calls > 1 and len(x) == 1,
    }
    return lambda: Fails(kind, asks[when])


def backward():
    return Means(nn.Identity()) if False else nn.Sequential(Layer(), Means())


class Layer(nn.Module):
    def forward(self, x):
        return Backward.apply(x)


def needs(width):
    return Means()


def leaves():
    os._exit(0)
'''
EVERY = [
    "exit", "none", "assertion", "type", "key", "stop", "cancelled", "generator", "own", "memory", "coloured", "eof",
    "os", "recursion", "warning",
]  # fmt: skip


@pytest.fixture
def theirs(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of models that fail, in the working directory."""
    (place / "theirs.py").write_text(THEIRS)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    return place


GATE = "--data digits --limit 12 --attack fgsm --eps 0.1 --fail-under 0"


def one_line(message: str) -> bool:
    return message.startswith("Error: ") and message.count("\n") == 1 and message.strip().isprintable()


@pytest.mark.parametrize(
    ("when", "kind"),
    [*((when, kind) for when in ("factory", "first") for kind in EVERY), ("attack", "exit"), ("attack", "own")],
)
def test_a_gate_does_not_pass_without_a_verdict(when: str, kind: str, command: Command, theirs: Path) -> None:
    assert theirs.is_dir()
    done = command("evaluate", f"theirs:{when}_{kind}", *GATE.split())
    assert done.code == Code.WRONG
    assert not done.out
    assert one_line(done.err.splitlines(keepends=True)[-1])
    assert "theirs.py:" in done.err


@pytest.mark.parametrize(
    "words",
    [
        f"evaluate theirs:later_exit {GATE}",
        f"evaluate theirs:backward {GATE}",
        f"evaluate theirs:alone_exit {GATE}",
        "doctor theirs:attack_exit --data digits --limit 12 --strict",
        "attack theirs:attack_exit --data digits --limit 4",
        "train theirs:later_exit --data digits --limit 40 --epochs 1 --batch-size 8 --recipe standard",
        "corruptions evaluate theirs:later_exit --data digits --limit 12 --corruptions gaussian_noise --fail-under 0",
    ],
)
def test_no_command_passes_over_the_end_that_a_model_wants(words: str, command: Command, theirs: Path) -> None:
    assert theirs.is_dir()
    done = command(*words.split())
    assert (done.code, done.out) == (Code.WRONG, "")
    assert one_line(done.err.splitlines(keepends=True)[-1])


def test_a_function_that_needs_arguments_is_told_so(command: Command, theirs: Path) -> None:
    assert theirs.is_dir()
    done = command("evaluate", "theirs:needs")
    assert done.code == Code.WRONG
    assert "missing 1 required positional argument: 'width'; give a function that returns the model and" in done.err


def test_debug_shows_the_original_behind_the_sentence(theirs: Path) -> None:
    assert theirs.is_dir()
    with pytest.raises(UserCodeError, match="KeyError: 'logits'") as caught:
        main(["evaluate", "theirs:first_key", *GATE.split(), "--debug"])
    assert isinstance(caught.value.__cause__, KeyError)


def robustlab(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "robustlab", *words], text=True, env=env, check=False, capture_output=True, cwd=cwd
    )


@pytest.mark.slow
def test_the_hard_end_of_a_process_is_no_verdict(theirs: Path) -> None:
    done = robustlab("evaluate", "theirs:leaves", *GATE.split(), cwd=theirs)
    assert (done.returncode, done.stdout) == (Code.WRONG, "")
    assert done.stderr == "Error: the user's code ended the program, by os._exit(0), before it had a result\n"


@pytest.mark.slow
def test_a_handler_at_the_end_does_not_change_the_verdict(theirs: Path) -> None:
    (theirs / "late.py").write_text("import atexit, os\natexit.register(os._exit, 0)\nraise KeyError('late')\n")
    assert robustlab("evaluate", "late:model", cwd=theirs).returncode == Code.WRONG


@pytest.mark.skipif(os.name == "nt", reason="pipes end in another way there")
def test_a_closed_standard_output_is_said_by_the_exit_code_alone(theirs: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    env = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "robustlab", "--help"], stdout=write, stderr=subprocess.PIPE, cwd=theirs, env=env,
        check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (Code.CLOSED, b"")


def test_the_guide_and_the_help_have_every_code_and_no_other(command: Command) -> None:
    assert set(MEANINGS) == set(Code)
    guide = (ROOT / "docs" / "guide" / "cli.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", guide, flags=re.MULTILINE))
    assert rows == {str(code.value): meaning for code, meaning in MEANINGS.items()}
    shown = command("--help").out
    assert re.findall(r"(\d+):", shown.partition("Exit codes:")[2].partition("Options")[0]) == list(rows)


def _borrowed() -> None:
    from robustlab.explain import GradCAM, explain

    explain(GradCAM(), torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.Flatten()), torch.rand(2, 1, 1, 1))


def _neighbours() -> None:
    from robustlab.regularization.nearest import approximate

    approximate(torch.eye(3), 0.0, 1)


@pytest.mark.parametrize(
    ("package", "extra", "use"), [("captum", "explain", _borrowed), ("faiss", "graph", _neighbours)]
)
def test_a_missing_package_is_one_line_with_its_extra(
    package: str,
    extra: str,
    use: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package] or [package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError) as caught:
        use()
    assert report(caught.value, debug=False) == Code.WRONG
    printed = capsys.readouterr().err
    assert f"pip install 'robustlab[{extra}]'" in " ".join(printed.split())
    assert "Traceback" not in printed
