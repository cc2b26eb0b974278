"""Kills a run of Noisy Student in one stage after the other, resumes, and prints if it ends like an uninterrupted one.

A program rather than a test, so that it can fork before any thread runs: ``python killed_students.py FOLDER``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch
from places import place_of  # type: ignore[import-not-found]
from torch import nn

from robustlab.data import InMemory, apart
from robustlab.runs import Progress, Report
from robustlab.training import SelfTraining, Settings, feature_store, self_train, sgd
from robustlab.training.self_training import SelfTrained

WAY = Settings(2, batch_size=15, optimizer=sgd(0.02), average=0.9, resume=True, device="cpu")
PLAN = SelfTraining(WAY, WAY, WAY, rounds=2, ratio=2, threshold=0.2)
PLACES = {
    "teacher": (2, 1),
    "round-1/pseudo-labels": (1, 2),
    "round-1/student": (2, 2),
    "round-2/pseudo-labels": (1, 3),
    "round-2/student": (1, 2),
    "tuned": (2, 1),
}
"""Epoch and step of each stage at which a process is killed."""


def net(number: int) -> nn.Module:
    """A network with BatchNorm and dropout."""
    torch.manual_seed(number)
    head = (nn.Dropout(0.2), nn.Flatten(), nn.Linear(144, 4))
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *head)


def ran(out: Path, progress: Report | None = None) -> SelfTrained:
    """Runs Noisy Student, or resumes it."""
    x = torch.rand(630, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labelled, unlabelled = apart(InMemory("noise", tuple("abcd"), x, torch.arange(630) % 4), 30)
    return self_train(net, labelled, unlabelled, PLAN, out=out, progress=progress)


def killed(out: Path, stage: str) -> None:
    """Runs in a child that kills itself."""
    child = os.fork()
    if child == 0:

        def show(at: Progress) -> None:
            if at.task == stage and place_of(at) == PLACES[stage]:
                os.kill(os.getpid(), signal.SIGKILL)

        ran(out, show)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def main(folder: Path) -> None:
    """Prints the places of the kills, and if all weights are the same at the end."""
    torch.set_num_threads(1)
    feature_store.SECONDS = 0.0
    whole = ran(folder / "whole").model
    for stage in PLACES:
        killed(folder / "killed", stage)
    pairs = zip(*(net.state_dict().values() for net in (ran(folder / "killed").model, whole)), strict=True)
    sys.stdout.write(json.dumps({"kills": list(PLACES), "same": all(torch.equal(a, b) for a, b in pairs)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
