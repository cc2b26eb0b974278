"""Kills a process while it makes features, resumes, and prints the results.

A program rather than a test, so that it can fork before any thread runs: ``python killed_features.py FOLDER``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from robustlab.data import InMemory
from robustlab.runs import Progress
from robustlab.training import Settings, cached_features, feature_store

WAY = Settings(1, device="cpu")


def data() -> InMemory:
    """Random images for more than four batches."""
    x = torch.randint(256, (250, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return InMemory("noise", tuple("ab"), x, torch.arange(250) % 2)


def net() -> nn.Sequential:
    """A network with BatchNorm."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def killed(folder: Path, step: int) -> None:
    """Makes features in a child that kills itself after a batch."""
    child = os.fork()
    if child == 0:

        def show(at: Progress) -> None:
            if at.done == step:
                os.kill(os.getpid(), signal.SIGKILL)

        cached_features(net(), data(), folder, WAY, progress=show)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def main(folder: Path) -> None:
    """Prints the rows after each kill, the batches made at last, and if the features are right."""
    torch.set_num_threads(1)
    feature_store.SECONDS = 0.0
    kept: list[int] = []
    for step in (3, 2):
        killed(folder, step)
        (file,) = folder.glob("*/rows.json")
        kept.append(json.loads(file.read_text())["rows"])
        with (file.parent / "x.f32").open("ab") as half:
            half.write(b"half a row")
    steps: list[int] = []
    found = cached_features(net(), data(), folder, WAY, progress=lambda at: steps.append(int(at.done)))
    with torch.no_grad():
        expected = net().eval()[:4](data().batch(torch.arange(250)).x)
    right = bool(torch.allclose(found.x, expected, rtol=0, atol=1e-6)) and torch.equal(found.y, data().y)
    sys.stdout.write(json.dumps({"kept": kept, "made": len(steps), "right": right}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
