"""Corrupted copies that somebody damaged: what is missing is written anew, and the rest is left alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import torch

from robustlab.core import RunError
from robustlab.evaluation import CopySettings, Progress, damaged_files, read_copy, write_corrupted
from robustlab.evaluation.copies import files as copy_files
from robustlab.evaluation.copies.manifest import Layout

Damage: TypeAlias = Callable[[Path], object]
LAYOUTS: tuple[Layout, ...] = ("arrays", "folders")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(copy_files, "_IMAGES", 4)


def make(out: Path, layout: Layout, stop_after: int = 0) -> list[str]:
    """Makes a copy; returns what was worked on."""
    told: list[str] = []

    def report(at: Progress) -> None:
        told.append(at.task)
        if len(told) == stop_after:
            raise KeyboardInterrupt

    x = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    how = CopySettings(layout=layout, progress=report)
    write_corrupted((x, torch.arange(10) % 2), out, corruptions=["contrast", "fog"], settings=how)
    return told


def content(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in {"manifest.json", ".lock"}
    }


def some(out: Path) -> Path:
    """A file with images."""
    return sorted([*out.glob("fog*.npy"), *out.glob("fog/*/*/*.png")])[0]


def flipped(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[-3] ^= 1
    path.write_bytes(bytes(held))


def emptied(out: Path) -> None:
    (out / "SHA256SUMS").write_text("")


def halved(out: Path) -> None:
    lines = (out / "SHA256SUMS").read_text().splitlines(keepends=True)
    (out / "SHA256SUMS").write_text("".join(lines[: len(lines) // 2]))


def rewritten(out: Path) -> None:
    """A file and its digest are changed together."""
    import hashlib

    before = hashlib.sha256(some(out).read_bytes()).hexdigest()
    flipped(some(out))
    sums = (out / "SHA256SUMS").read_text().replace(before, hashlib.sha256(some(out).read_bytes()).hexdigest())
    (out / "SHA256SUMS").write_text(sums)


FILES: dict[str, Damage] = {
    "a file gone": lambda out: some(out).unlink(),
    "a file cut": lambda out: some(out).write_bytes(some(out).read_bytes()[:-5]),
    "a file changed": lambda out: flipped(some(out)),
    "a file empty": lambda out: some(out).write_bytes(b""),
}
SUMS: dict[str, Damage] = {
    "no digests": lambda out: (out / "SHA256SUMS").unlink(),
    "empty digests": emptied,
    "half of the digests": halved,
    "a file and its digest changed": rewritten,
    "bytes for digests": lambda out: (out / "SHA256SUMS").write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", [*FILES, *SUMS])
def test_a_damaged_copy_ends_as_if_it_had_not_been(name: str, layout: Layout, tmp_path: Path) -> None:
    make(tmp_path / "whole", layout)
    out = tmp_path / "copy"
    shutil.copytree(tmp_path / "whole", out)
    {**FILES, **SUMS}[name](out)
    if name in SUMS:
        with pytest.raises(RunError, match=r"was changed|is not finished|cannot be read"):
            read_copy(out)
    told = make(out, layout)
    assert content(out) == content(tmp_path / "whole")
    assert (set(told) == {"check"}) == (name in FILES), "only what is missing is written"
    assert damaged_files(out) == ()
    assert read_copy(out).name


@pytest.mark.parametrize("name", ["labels.npy", "clean/images.npy"])
def test_what_is_beside_the_images_is_written_anew(name: str, tmp_path: Path) -> None:
    make(tmp_path, "arrays")
    before = content(tmp_path)
    flipped(tmp_path / name)
    make(tmp_path, "arrays")
    assert content(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("damage", ["part", "word", "piece"])
def test_a_damaged_unfinished_copy_goes_on(damage: str, layout: Layout, tmp_path: Path) -> None:
    make(tmp_path / "whole", layout)
    out = tmp_path / "copy"
    with pytest.raises(KeyboardInterrupt):
        make(out, layout, stop_after=8)
    words = sorted((out / ".parts").glob("*.json"))
    if damage == "word":
        words[-1].write_text("{")
    elif damage == "part":
        words[-1].unlink()
    else:
        pieces = sorted([*(out / ".parts").glob("*.npy"), *out.glob("contrast/*/*/*.png")])
        flipped(pieces[0])
    make(out, layout)
    assert content(out) == content(tmp_path / "whole")


def test_copies_of_an_older_version_are_read_checked_and_mended(tmp_path: Path) -> None:
    make(tmp_path, "arrays")
    before = content(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["sums"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert read_copy(tmp_path).name
    flipped(some(tmp_path))
    make(tmp_path, "arrays")
    assert content(tmp_path) == before
    assert json.loads((tmp_path / "manifest.json").read_text())["sums"]
