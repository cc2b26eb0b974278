"""Kills the making of corrupted copies around every write, goes on, and prints what differs from one left alone.

A program rather than a test, so that it can fork before any thread runs: ``python killed_copies.py FOLDER LAYOUT``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import cast

import torch
from forks import forked  # type: ignore[import-not-found]

from robustlab.evaluation import CopySettings, write_corrupted
from robustlab.evaluation.copies import files as copy_files
from robustlab.evaluation.copies.manifest import Layout


def run(out: Path) -> None:
    copy_files._IMAGES = 8
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    how = CopySettings(layout=cast(Layout, sys.argv[2]), command="killed_copies")
    severities = (1, 2, 3, 4, 5) if sys.argv[2] == "arrays" else (2,)
    write_corrupted((x, torch.arange(20) % 2), out, corruptions=["contrast"], severities=severities, settings=how)


def killed(out: Path, point: int) -> bool:
    """Runs in a child that kills itself before or after a file comes to its place; whether there was such a place."""
    left = [point]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        replace, rename, unlink = Path.replace, os.replace, Path.unlink

        def replacing(self: Path, target: Path) -> Path:
            count()
            found = replace(self, target)
            count()
            return found

        def renaming(source: Path, target: Path) -> None:
            count()
            rename(source, target)
            count()

        def unlinking(self: Path, missing_ok: bool = False) -> None:
            count()
            unlink(self, missing_ok=missing_ok)

        Path.replace = replacing  # type: ignore[method-assign,assignment]
        os.replace = renaming  # type: ignore[assignment]
        Path.unlink = unlinking  # type: ignore[method-assign]
        run(out)

    return os.WIFSIGNALED(forked(work))


def content(out: Path) -> dict[str, str]:
    """Every file but the manifest, which holds the time."""
    return {
        str(path.relative_to(out)): path.read_bytes().hex()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in {"manifest.json", ".lock"}
    }


def main(folder: Path) -> None:
    """Prints one JSON object."""
    torch.set_num_threads(1)
    run(folder / "alone")
    expected = content(folder / "alone")
    point, failures = 0, list[str]()
    for point in range(0, 300, 5):
        out = folder / f"killed-{point}"
        if not killed(out, point):
            break
        run(out)
        found = content(out)
        failures += [f"{point}: {name}" for name in {*found, *expected} if found.get(name) != expected.get(name)]
    sys.stdout.write(json.dumps({"failures": failures, "points": point, "files": sorted(expected)[:3]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
