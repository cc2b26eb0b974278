"""Kills evaluations at many points, resumes them, and prints what differs from one that was left alone.

A program rather than a test, so that it can fork before any thread runs: ``python killed_runs.py FOLDER PLAN``.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from robustlab.attacks import APGD, APGDT, FABT, FGSM, PGD, AutoAttack, Restarts, Square
from robustlab.core import Attack, Linf, ThreatModel
from robustlab.evaluation import Settings, evaluate, store
from robustlab.evaluation.plan import Phase
from robustlab.runs import json_files
from robustlab.runs import tensors as files
from robustlab.runs.files import write_bytes

LATER = 1
THREAT = ThreatModel(Linf(), 0.1)
SUITE = AutoAttack(
    ("apgd-ce", "apgd-t", "fab-t", "square"),
    (APGD(THREAT, 3), APGDT(THREAT, 3, 2), FABT(THREAT, 3, 2), Square(THREAT, 10)),
)
"""AutoAttack standard with fewer steps."""
PLANS: dict[str, tuple[list[Attack], list[float]]] = {
    "sweep": ([FGSM(THREAT), Restarts(PGD(THREAT, 2), 2)], [0.02, 0.05]),
    "autoattack": ([SUITE], [0.02]),
}
PLACES = {"sweep": (0, 0.999), "autoattack": (0.5,)}
"""Writes at which a run is killed, as parts of all writes of a kind."""


def model() -> nn.Module:
    """An untrained network with BatchNorm."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()


def data(net: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images with the labels that the network gives to most of them."""
    x = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = net(x).argmax(1)
    return x, torch.where(torch.arange(60) % 7 == 0, (y + 1) % 3, y)


def run(out: Path) -> None:
    net, (attacks, eps) = model(), PLANS[sys.argv[2]]
    settings = Settings(batch_size=16, command="killed_runs", doctor=False)
    evaluate(net, data(net), attacks=attacks, eps=eps, out=out, settings=settings)


def on_every_step(act: Callable[[str], None]) -> None:
    """Calls ``act`` before and after everything that a commit consists of."""
    write, insert, commit = write_bytes, store.Store._insert, store.Store.commit
    replace = Path.replace

    def writing(path: Path, content: bytes, *, durable: bool = True) -> None:
        act("before a file")
        write(path, content, durable=durable)
        act("after a file")

    def replacing(self: Path, target: Path) -> Path:
        act("file not yet in place")
        return replace(self, target)

    def inserting(self: store.Store, *args: object) -> None:
        act("before rows")
        insert(self, *args)  # type: ignore[arg-type]
        act("rows not yet committed")

    def committing(self: store.Store, phase: Phase, *args: object) -> None:
        act(f"stage {phase.stage} of attack {phase.attack}")
        commit(self, phase, *args)  # type: ignore[arg-type]
        act("after a commit")

    files.write_bytes = json_files.write_bytes = writing  # type: ignore[attr-defined]
    Path.replace = replacing  # type: ignore[method-assign,assignment]
    store.Store._insert = inserting  # type: ignore[method-assign,assignment]
    store.Store.commit = committing  # type: ignore[method-assign,assignment]


def steps(out: Path) -> list[str]:
    """Names of the steps of an uninterrupted run."""
    seen: list[str] = []
    on_every_step(seen.append)
    run(out)
    return seen


def killed(out: Path, point: int) -> None:
    """Runs in a child that kills itself at a step."""
    child = os.fork()
    if child == 0:
        left = [point]

        def die(_: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        on_every_step(die)
        run(out)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def killed_later(out: Path, seconds: float) -> None:
    """Runs in a child that is killed after some time, wherever it is then; it may also have finished."""
    child = os.fork()
    if child == 0:
        run(out)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def content(out: Path) -> dict[str, object]:
    """Everything of a run but times, names and how many sessions it took."""
    database = sqlite3.connect(out / "outcomes.sqlite")
    rows = {
        "examples": database.execute("SELECT * FROM examples ORDER BY id").fetchall(),
        "outcomes": database.execute(
            "SELECT * FROM outcomes ORDER BY attack, eps, kind, stage, restart, id"
        ).fetchall(),
        "batches": database.execute(
            "SELECT attack, eps, kind, stage, restart, batch, n, forward, backward, file, digest FROM batches "
            "ORDER BY attack, eps, kind, stage, restart, batch"
        ).fetchall(),
    }
    database.close()
    tensors = {
        path.name: {name: t.numpy().tobytes() for name, t in files.read_tensors(path).items()}
        for path in sorted(out.glob("adversarial/*"))
    }
    report = json.loads((out / "report.json").read_text())
    del report["run"]
    for result in report["results"]:
        for part in (result, *result["stages"]):
            del part["seconds"]
    del report["clean"]["seconds"]
    return {**rows, "x_adv": tensors, "report": report, "left over": sorted(map(str, out.glob("**/*.part")))}


def differences(out: Path, expected: dict[str, object]) -> list[str]:
    """Differences after a run was resumed."""
    run(out)
    found = content(out)
    return [name for name, value in expected.items() if found[name] != value]


def points(names: list[str], places: tuple[float, ...]) -> list[int]:
    """Numbers of the steps at some places among those of a name; of stages that of the middle alone."""
    found = set()
    for name in dict.fromkeys(names):
        steps = [number for number, other in enumerate(names) if other == name]
        found |= {steps[int(place * len(steps))] for place in ((0.5,) if name.startswith("stage") else places)}
    return sorted(found)


def main(folder: Path) -> None:
    """Prints one JSON object."""
    torch.set_num_threads(1)
    run(folder / "alone")
    expected = content(folder / "alone")
    child = os.fork()
    if child == 0:
        (folder / "steps.json").write_text(json.dumps(steps(folder / "counted")))
        os._exit(0)
    os.waitpid(child, 0)
    names: list[str] = json.loads((folder / "steps.json").read_text())
    failures = {}
    for point in points(names, PLACES[sys.argv[2]]):
        out = folder / f"killed-{point}"
        killed(out, point)
        failures[f"{point}: {names[point]}"] = differences(out, expected)
    started = time.perf_counter()
    run(folder / "timed")
    whole = time.perf_counter() - started
    for number in range(LATER):
        out = folder / f"later-{number}"
        killed_later(out, whole * (number + random.random()) / LATER)
        killed_later(out, whole * random.random() / 2)
        failures[f"later {number}"] = differences(out, expected)
    rows = expected["outcomes"]
    assert isinstance(rows, list)
    sys.stdout.write(json.dumps({"failures": failures, "steps": names, "rows": len(rows)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
