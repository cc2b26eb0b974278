"""Kills evaluations of explanations around every write, resumes them, and prints what differs from one left alone.

A program rather than a test, so that it can fork before any thread runs: ``python killed_explanations.py FOLDER``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from explained import WHOLE, explained, images  # type: ignore[import-not-found]
from forks import forked, killed  # type: ignore[import-not-found]

TIMES = ("run", "seconds")


def run(out: Path) -> None:
    explained(out=out, data=images(8), plan=WHOLE, how={"checked": 3, "attacked": 3})


def on_every_write(act: Callable[[str], None]) -> None:
    """Calls ``act`` before and after every file comes to its place."""
    replace = Path.replace

    def replacing(self: Path, target: Path) -> Path:
        act(f"{Path(target).parent.name}/{Path(target).name} not yet in place")
        found = replace(self, target)
        act(f"{Path(target).parent.name}/{Path(target).name} in place")
        return found

    Path.replace = replacing  # type: ignore[method-assign,assignment]


def timeless(value: object) -> object:
    """A JSON value without times and names of runs."""
    if isinstance(value, dict):
        return {name: timeless(one) for name, one in value.items() if name not in TIMES}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def content(out: Path) -> dict[str, object]:
    """Everything of a run but times, names and how many sessions it took."""
    from safetensors.torch import load_file

    tensors = {
        f"{path.relative_to(out)} {name}": tensor.numpy().tobytes().hex()
        for path in sorted(out.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
        if name not in ("seconds", "check")
    }
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.name != ".lock")
    return {"record": timeless(json.loads((out / "explanations.json").read_text())), "tensors": tensors, "files": files}


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
    for point in sorted({0, 1, *range(3, len(names), 24), *range(len(names) - 3, len(names))}):
        out = folder / f"killed-{point}"
        killed(partial(run, out), point, on_every_write)
        run(out)
        found = content(out)
        failures[f"{point}: {names[point]}"] = [name for name, value in expected.items() if found[name] != value]
    sys.stdout.write(json.dumps({"failures": failures, "steps": names, "files": expected["files"]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
