"""Kills trainings in the middle of an epoch, resumes them, and prints differences from uninterrupted ones.

A program rather than a test, so that it can fork before any thread runs: ``python killed_fits.py FOLDER``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch
from test_training_checkpoint import RECIPES, Carrying, place_of  # type: ignore[import-not-found]
from torch import nn

from robustlab.core import Recipe
from robustlab.data import InMemory
from robustlab.runs import Progress
from robustlab.training import Settings, fit, sgd

STATEFUL = ("free", "fast", "grad_align", "awp", "vat", "augmented")
PLACES = ((2, 1), (2, 3), (3, 2))
"""Epochs and steps after which one process after the other is killed, each going on with the run of those before."""
WAY = Settings(3, batch_size=10, optimizer=sgd(0.05), average=0.9, resume=True)


def data() -> InMemory:
    """Random images of two classes."""
    x = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return InMemory("noise", tuple("abcd"), x, torch.arange(30) % 4)


def net(seed: int = 0) -> nn.Module:
    """A network with BatchNorm and dropout."""
    torch.manual_seed(seed)
    head = (nn.Dropout(0.2), nn.Flatten(), nn.Linear(144, 4))
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *head)


def killed(recipe: Recipe, out: Path, place: tuple[int, int]) -> None:
    """Trains in a child that kills itself after a step."""
    child = os.fork()
    if child == 0:

        def show(at: Progress) -> None:
            if place_of(at) == place:
                os.kill(os.getpid(), signal.SIGKILL)

        fit(net(), recipe, data(), WAY, out=out, progress=show)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def content(out: Path) -> list[bytes]:
    """Weights, their average and the state of recipe and optimizer."""
    names = ("model", "average", "state")
    return [(out / "epoch-0003" / f"{name}.safetensors").read_bytes() for name in names]


def main(folder: Path) -> None:
    """Prints by recipe whether the run that was killed ended like the uninterrupted one."""
    torch.set_num_threads(1)
    alike = {}
    for name, recipe in {**{name: RECIPES[name] for name in STATEFUL}, "carrying": Carrying()}.items():
        whole = folder / f"{name}-whole"
        fit(net(), recipe, data(), WAY, out=whole)
        out = folder / name
        for place in PLACES:
            killed(recipe, out, place)
        fit(net(seed=9), recipe, data(), WAY, out=out)
        alike[name] = content(out) == content(whole)
    sys.stdout.write(json.dumps(alike))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
