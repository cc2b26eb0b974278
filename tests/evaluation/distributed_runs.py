"""Evaluations by two processes, some of which are killed; started by torchrun: ``distributed_runs.py FOLDER``.

Each process works in children of its own, so that a whole pair of them can be killed without a new start of Python.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path

import torch
from killed_runs import PLANS, THREAT, content, data, model, on_every_step  # type: ignore[import-not-found]
from torch import Tensor, distributed, nn

from robustlab.attacks import autoattack
from robustlab.cli.main import main as command
from robustlab.core import Attack, RobustlabError
from robustlab.evaluation import Progress, Settings, evaluate

FOLDER, RANK = Path(sys.argv[-1]), int(os.environ.get("RANK", "0"))
WAY = Settings(batch_size=16, command="killed_runs", doctor=False)
POINTS = {"sweep": (0, 58), "autoattack": (23,)}
"""Steps of a commit before which one of the two is killed: the first at odd ones, the second at even ones."""
ALL: dict[str, tuple[list[Attack], list[float]]] = {**PLANS, "quick": ([autoattack(THREAT, "quick")], [0.02])}


def run(plan: str, out: Path, way: Settings) -> list[tuple[str, float, float | None]]:
    """Evaluates, and gives what was told."""
    net, (attacks, eps), told = model(), ALL[plan], list[Progress]()
    evaluate(net, data(net), attacks=attacks, eps=eps, out=out, settings=replace(way, progress=told.append))
    return [(at.task, at.done, at.total) for at in told]


class Drawing(nn.Module):
    """Logits with noise from the global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.net = model()

    def forward(self, x: Tensor) -> Tensor:
        """The noisy logits."""
        logits: Tensor = self.net(x)
        return logits + 0.01 * torch.randn_like(logits)


def in_child(name: str, work: Callable[[], object]) -> int:
    """Does a work in a child that is connected to the other process's child; its exit status, -9 if it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            meeting = f"file://{FOLDER / name}.meeting"
            distributed.init_process_group("gloo", init_method=meeting, rank=RANK, world_size=2)
            work()
            status = 0
        except Exception as error:
            (FOLDER / f"{name}-{RANK}.error").write_text(str(error))
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(plan: str, out: Path, point: int) -> None:
    """Runs until this process kills itself at a step."""
    left = [point]

    def die(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    on_every_step(die)
    run(plan, out, replace(WAY, together=True))


def digit_net() -> nn.Module:
    """An untrained network for 8x8 images of ten classes."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def commanded(out: Path) -> tuple[int, str]:
    """Exit code and standard output of the command."""
    typed = ["evaluate", "distributed_runs:digit_net", "--data", "digits", "--attack", "fgsm", "--eps", "0.01"]
    with redirect_stdout(StringIO()) as shown:
        code = command([*typed, "--force", "--limit", "40", "--batch-size", "16", "--json", "--out", str(out)])
    return code, shown.getvalue()


def kill_and_resume(found: dict[str, int]) -> None:
    """Kills one of the two at many points, and goes on with two, or with one."""
    together = replace(WAY, together=True)
    for plan, points in POINTS.items():
        for point in points:
            name = f"{plan}-{point}"
            out, victim = FOLDER / name, 1 - point % 2
            act = partial(killed, plan, out, point) if victim == RANK else partial(run, plan, out, together)
            found[name] = in_child(name, act)
            if point < 40:
                in_child(f"{name}-again", partial(run, plan, out, together))
            elif RANK == 0:
                run(plan, out, WAY)


def refused(act: Callable[[], object]) -> str:
    """Message instead of a result."""
    try:
        act()
    except (ValueError, RobustlabError) as error:
        return str(error)
    return ""


def main() -> None:
    """Leaves run directories, and a JSON file of what else happened."""
    torch.set_num_threads(1)
    found: dict[str, object] = {}
    exits: dict[str, int] = {}
    kill_and_resume(exits)
    together, (net, attacks) = replace(WAY, together=True), (model(), ALL["sweep"][0])
    told = {plan: run(plan, FOLDER / f"together-{plan}", together) for plan in ALL}
    evaluate(Drawing().eval(), data(net), attacks=attacks, out=FOLDER / "noisy", settings=together)
    found |= {"exits": exits, "told": told, "command": commanded(FOLDER / "command")}
    x, y = data(net)
    other = replace(together, seed=RANK)
    for name, inputs, out, way in (
        ("nowhere", x, None, together),
        ("other", x, FOLDER / "other", other),
        ("held", x, FOLDER / "together-sweep", replace(together, batch_size=15)),
        ("inputs", x * 200, FOLDER / "inputs", replace(together, doctor=True)),
    ):
        found[name] = refused(partial(evaluate, net, (inputs, y), attacks=attacks, out=out, settings=way))
    (FOLDER / f"found-{RANK}.json").write_text(json.dumps(found))


def alone(folder: Path) -> None:
    """The same by one process."""
    for plan in ALL:
        run(plan, folder / f"alone-{plan}", WAY)
    evaluate(Drawing().eval(), data(model()), attacks=ALL["sweep"][0], out=folder / "alone-noisy", settings=WAY)


def differences() -> dict[str, list[str]]:
    """Differences of each run from that of one process, and files that are left."""
    alone(FOLDER)
    found = {}
    for out in sorted(FOLDER.glob("*/outcomes.sqlite")):
        name = next((n for n in (*ALL, "noisy") if n in out.parent.name.split("-")), None)
        if name is not None:
            expected, got = content(FOLDER / f"alone-{name}"), content(out.parent)
            left = [str(path) for path in out.parent.glob("shards*")]
            found[out.parent.name] = [part for part in expected if expected[part] != got[part]] + left
    return found


if __name__ == "__main__":
    main()
    if RANK == 0:
        (FOLDER / "differences.json").write_text(json.dumps(differences()))
