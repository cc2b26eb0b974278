"""Files of strangers on the command line: what they name is not imported, and what is advised works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save_file

from robustlab.models import load

DATA = ["--data", "digits"]


class Done(NamedTuple):
    """Result of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def canary(place: Path) -> Path:
    """A module in the working directory, named by a weight file; the path is there once it was imported."""
    sign = place / "sang"
    (place / "canary.py").write_text(f"open({str(sign)!r}, 'w').close()\ndef make():\n    raise SystemExit(0)\n")
    return sign


def write(path: Path, name: str) -> Path:
    """Weights that say that they are of something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = load("batchnorm-cnn", size=8).state_dict()
    architecture = {"name": name, "classes": 10, "channels": 1, "size": 8}
    save_file(weights, path, metadata={"architecture": json.dumps(architecture)})
    return path


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "FILE", "--quick", "--limit", "8"],
        ["corruptions", "evaluate", "FILE", "--limit", "8"],
        ["attack", "FILE", "--limit", "8"],
        ["doctor", "FILE", "--limit", "8"],
        ["doctor", "tiny:means", "--surrogate", "FILE", "--limit", "8"],
        ["hard", "FILE"],
        ["finetune", "--model", "FILE", "--limit", "40"],
        ["noisy-student", "batchnorm-cnn", "--teacher", "FILE", "--limit", "60", "--labels", "30"],
        ["sweep", "attackers", "FILE", "--eps", "0.1"],
        ["train", "FILE", "--limit", "40"],
    ],
    ids=lambda words: "-".join(words),
)
def test_what_a_file_names_is_not_imported(command: Command, place: Path, canary: Path, words: list[str]) -> None:
    write(place / "theirs.safetensors", "canary:make")
    write(place / "run" / "model.safetensors", "timm:canary:make")
    for given in ("theirs.safetensors", "run") if words[0] == "evaluate" else ("theirs.safetensors",):
        typed = [given if word == "FILE" else word for word in words]
        done = command(*typed, *([] if "hard" in words else DATA))
        assert done.code == 2, done
        assert "canary" not in sys.modules
        assert not canary.exists()
        assert ".safetensors" in done.err
        assert "Traceback" not in done.err


@pytest.fixture
def theirs(place: Path) -> Path:
    """A state dict of torch that does not say what it is of."""
    torch.save({"state_dict": load("batchnorm-cnn", size=8, seed=3).state_dict()}, place / "theirs.pt")
    return place / "theirs.pt"


@pytest.mark.slow
@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "theirs.pt", "--attack", "noise", "--limit", "8", "--out", "run"],
        ["doctor", "theirs.pt", "--attack", "noise", "--limit", "8"],
        ["attack", "theirs.pt", "--attack", "noise", "--limit", "8", "--out", "run"],
    ],
    ids=lambda words: words[0],
)
def test_the_architecture_can_be_typed_as_advised(command: Command, words: list[str]) -> None:
    done = command(*words, *DATA)
    assert done.code == 2
    assert "theirs.pt names no architecture: give its name as well" in done.err
    assert "--architecture NAME, or NAME=FILE" in done.err
    assert command(*words, *DATA, "--architecture", "batchnorm-cnn").code == 0
    named = [f"batchnorm-cnn={word}" if word == "theirs.pt" else word.replace("run", "run2") for word in words]
    assert command(*named, *DATA).code == 0


@pytest.mark.usefixtures("theirs")
def test_a_second_model_has_its_name_in_front(command: Command) -> None:
    words = ["doctor", "tiny:means", "--attack", "noise", "--limit", "8", "--surrogate"]
    assert "NAME=FILE for a second model" in command(*words, "theirs.pt", *DATA).err
    assert command(*words, "batchnorm-cnn=theirs.pt", *DATA).code == 0


@pytest.mark.slow
def test_the_folder_counts_once_a_function_was_typed(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(place)])
    write(place / "ours.safetensors", "batchnorm-cnn")
    quick = ["--attack", "noise", "--limit", "8"]
    assert command("evaluate", "ours.safetensors", *quick, *DATA, "--out", "run").code == 0
    assert str(place) not in sys.path
    assert command("evaluate", "tiny:means", *quick, *DATA, "--out", "other").code == 0
    assert str(place) in sys.path


def test_no_package_is_taken_from_where_the_user_stands(place: Path) -> None:
    for name in ("typer", "rich", "torch", "numpy"):
        (place / f"{name}.py").write_text("raise SystemExit('taken from here')\n")
    program = [sys.executable, "-m", "robustlab", "--version"]
    done = subprocess.run(program, cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
