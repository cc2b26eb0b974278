"""A working directory with models that need no training, and the command in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from robustlab.cli.main import main

MODELS = '''
import os, time
import torch
from torch import nn
from robustlab.data import load


class Means(nn.Module):
    """Nearest class mean: logits 2 x.m - |m|^2."""

    def __init__(self, end=None):
        super().__init__()
        data = load("digits", split="train")
        x, y = data.batch(torch.arange(len(data)))[:2]
        means = torch.stack([x[y == k].flatten(1).mean(0) for k in range(10)])
        self.linear = nn.Linear(64, 10)
        self.linear.weight = nn.Parameter(2 * means)
        self.linear.bias = nn.Parameter(-(means**2).sum(1))
        self.end = end or nn.Identity()

    def forward(self, x):
        time.sleep(float(os.environ.get("SLOW", "0")))
        return self.end(self.linear(x.flatten(1)))


def means():
    return Means()


def blurred():
    made = Means()
    made.linear.weight.data *= 0.9
    return made


def probabilities():
    return Means(nn.Softmax(dim=1))


def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(65, 10))


def coloured():
    import timm

    return timm.create_model("resnet18", pretrained=False)


def pair():
    made = Means()
    made.forward = lambda x: (made.linear(x.flatten(1)), 0)
    return made


def nothing():
    return 3
'''


class Done(NamedTuple):
    """Exit code and outputs of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with ``tiny.py``, which is the working directory."""
    (tmp_path / "tiny.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "tiny", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def command(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs ``robustlab`` with words, in ``place``."""
    assert place.is_dir()

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["robustlab", *words])
        capsys.readouterr()
        code = main(list(words))
        return Done(code, *capsys.readouterr())

    return run
