"""Kills evaluations under corruptions around every write, resumes them, and prints what differs from one left alone.

A program rather than a test, so that it can fork before any thread runs: ``python killed_corruptions.py FOLDER``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from forks import forked, killed  # type: ignore[import-not-found]
from torch import nn

from robustlab.evaluation import CorruptionSettings, evaluate_corruptions


def run(out: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    x = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = net(x).argmax(1)
    how = CorruptionSettings(batch_size=4, command="killed_corruptions")
    evaluate_corruptions(
        net, (x, y), corruptions=["gaussian_noise", "contrast"], severities=[1, 5], out=out, settings=how
    )


def on_every_write(act: Callable[[str], None]) -> None:
    """Calls ``act`` before and after every file comes to its place."""
    replace, unlink = Path.replace, Path.unlink

    def replacing(self: Path, target: Path) -> Path:
        act(f"{Path(target).name} not yet in place")
        found = replace(self, target)
        act(f"{Path(target).name} in place")
        return found

    def unlinking(self: Path, missing_ok: bool = False) -> None:
        act(f"{self.name} not yet removed")
        unlink(self, missing_ok=missing_ok)

    Path.replace = replacing  # type: ignore[method-assign,assignment]
    Path.unlink = unlinking  # type: ignore[method-assign]


def content(out: Path) -> dict[str, object]:
    """Everything of a run but times, names and how many sessions it took."""
    from safetensors.torch import load_file

    record = json.loads((out / "corruptions.json").read_text())
    del record["run"], record["clean"]["seconds"]
    for cell in record["cells"]:
        del cell["seconds"]
    tensors = {
        f"{path.name} {name}": tensor.numpy().tobytes().hex()
        for path in sorted(out.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
        if name not in ("seconds", "check")
    }
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.name != ".lock")
    return {"record": record, "tensors": tensors, "files": files}


def main(folder: Path) -> None:
    """Prints one JSON object."""
    torch.set_num_threads(1)
    run(folder / "alone")
    expected = content(folder / "alone")
    steps = folder / "steps.json"

    def counted() -> None:
        seen: list[str] = []
        on_every_write(seen.append)
        run(folder / "counted")
        steps.write_text(json.dumps(seen))

    assert forked(counted) == 0
    names: list[str] = json.loads(steps.read_text())
    failures = {}
    for point in sorted({*range(0, len(names), 11), *range(len(names) - 28, len(names))}):
        out = folder / f"killed-{point}"
        killed(partial(run, out), point, on_every_write)
        run(out)
        found = content(out)
        failures[f"{point}: {names[point]}"] = [name for name, value in expected.items() if found[name] != value]
    sys.stdout.write(json.dumps({"failures": failures, "steps": names, "files": expected["files"]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
