"""Corrupted copies on disk: the same images as in memory, resumable, verified, read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustlab.core import RunError
from robustlab.corruptions import corruption
from robustlab.data import InMemory, load
from robustlab.evaluation import (
    CopySettings,
    Progress,
    corrupted_sets,
    damaged_files,
    evaluate_corruptions,
    is_copy,
    read_copy,
    write_corrupted,
)

NAMES = ("gaussian_noise", "contrast")


def images(n: int = 30, channels: int = 1) -> InMemory:
    x = torch.rand(n, channels, 8, 9, generator=torch.Generator().manual_seed(2)).mul(255).round().to(torch.uint8)
    return InMemory("random", ("one", "two/three", "four"), x, torch.arange(n) % 3)


def test_arrays_hold_what_is_made_in_memory(tmp_path: Path) -> None:
    data, told = images(), list[Progress]()
    settings = CopySettings(seed=4, progress=told.append)
    made = write_corrupted(data, tmp_path, corruptions=NAMES, settings=settings)
    assert (made.layout, made.format, made.n, made.shape) == ("arrays", "npy", 30, (1, 8, 9))
    views, copy, ids = corrupted_sets(data, NAMES, seed=4), read_copy(tmp_path), torch.arange(30)
    for cell, view in views.cells.items():
        stored, fresh = copy.cells[cell].batch(ids), view.batch(ids)
        assert torch.equal(stored.x, fresh.x)
        assert torch.equal(stored.y, fresh.y)
    assert copy.clean is not None
    assert torch.equal(copy.clean.batch(ids).x, data.batch(ids).x)
    assert copy.examples.classes == data.classes
    array = np.load(tmp_path / "contrast.npy")
    assert (array.shape, array.dtype) == ((150, 8, 9, 1), np.uint8)
    assert np.load(tmp_path / "labels.npy").tolist() == data.y.tolist() * 5
    assert is_copy(tmp_path)
    assert load(f"cifar-c:{tmp_path}").classes == ("0", "1", "2"), "it is read as a published set, too"
    assert (told[9].done, told[9].total, told[9].seconds_left) == (10, 10, 0)
    assert [at.task.split()[0] for at in told] == ["corrupt"] * 10 + ["check"] * 4
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != ".lock") == [
        "SHA256SUMS", "clean", "contrast.npy", "gaussian_noise.npy", "labels.npy", "manifest.json",
    ]  # fmt: skip


def test_folders_hold_the_same_in_files_by_class(tmp_path: Path) -> None:
    data = images(channels=3)
    settings = CopySettings(layout="folders")
    made = write_corrupted(data, tmp_path, corruptions=NAMES, severities=[2, 4], settings=settings)
    assert made.folders == ("0-one", "1-two-three", "2-four")
    views, copy = corrupted_sets(data, NAMES), read_copy(tmp_path)
    order = torch.cat([torch.arange(k, 30, 3) for k in range(3)])
    for name in NAMES:
        for severity in (2, 4):
            found = copy.cells[name, severity].batch(torch.arange(30))
            expected = views.cells[name, severity].batch(order)
            assert torch.equal(found.x, expected.x)
            assert torch.equal(found.y, expected.y)
    assert copy.examples.classes == data.classes
    assert (tmp_path / "contrast" / "2" / "1-two-three" / "000004.png").is_file()


def test_labels_stay_right_where_classes_have_no_images(tmp_path: Path) -> None:
    data = images()
    some = InMemory("some", data.classes, data.x[:4], torch.tensor([2, 2, 0, 2]))
    write_corrupted(some, tmp_path, corruptions=["contrast"], settings=CopySettings(layout="folders"))
    found = read_copy(tmp_path).cells["contrast", 1].batch(torch.arange(4))
    assert sorted(found.y.tolist()) == [0, 2, 2, 2]


def test_image_folders_keep_their_names_and_jpeg_is_jpeg(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for name in ("cats/a.jpg", "cats/b.png", "dogs/a.png", "dogs/a.bmp"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 12), (200, 90, 10)).save(source / name)
    settings = CopySettings(format="jpeg", quality=85)
    made = write_corrupted(source, tmp_path / "c", corruptions=["contrast"], severities=[1], settings=settings)
    assert (made.layout, made.format) == ("folders", "jpeg 85")
    files = sorted(p.relative_to(tmp_path / "c").as_posix() for p in (tmp_path / "c" / "contrast").rglob("*.*"))
    assert files == [
        "contrast/1/cats/a.jpg", "contrast/1/cats/b.png.JPEG", "contrast/1/dogs/a.bmp.JPEG",
        "contrast/1/dogs/a.png.JPEG",
    ]  # fmt: skip
    with Image.open(tmp_path / "c" / files[0]) as picture:
        assert picture.format == "JPEG"
    assert read_copy(tmp_path / "c").examples.classes == ("cats", "dogs")


def test_a_copy_is_evaluated_like_the_images_in_memory(tmp_path: Path) -> None:
    data = images()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 3))
    write_corrupted(data, tmp_path, corruptions=NAMES)
    streamed, stored = (
        evaluate_corruptions(model, data, corruptions=NAMES),
        evaluate_corruptions(model, read_copy(tmp_path)),
    )
    counts = [{(c.corruption, c.severity): c.accuracy.count for c in e.cells} for e in (streamed, stored)]
    assert counts[0] == counts[1]
    assert stored.clean is not None
    assert stored.clean.accuracy == streamed.clean.accuracy  # type: ignore[union-attr]
    assert stored.variant == "imagenet-c"
    assert stored.per_class[1].name == "two/three"


@pytest.mark.slow
def test_several_processes_write_the_same(tmp_path: Path) -> None:
    program = (
        "import sys, torch\n"
        "from robustlab.evaluation import CopySettings, write_corrupted\n"
        "x = torch.rand(300, 1, 8, 8, generator=torch.Generator().manual_seed(1))\n"
        "if __name__ == '__main__':\n"
        "    for workers in (1, 2):\n"
        "        how = CopySettings(layout='folders', workers=workers)\n"
        "        place, data = f'{sys.argv[1]}/{workers}', (x, torch.arange(300) % 2)\n"
        "        write_corrupted(data, place, corruptions=['gaussian_noise'], severities=[1, 5], settings=how)\n"
    )
    (tmp_path / "program.py").write_text(program)
    words = [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sums = [(tmp_path / workers / "SHA256SUMS").read_text() for workers in ("1", "2")]
    assert sums[0] == sums[1]
    assert len(sums[0].splitlines()) == 600


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("layout", ["arrays", "folders"])
def test_killed_around_any_write_a_copy_ends_as_if_it_had_not_been(layout: str, tmp_path: Path) -> None:
    program = Path(__file__).with_name("killed_copies.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), layout],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failures"] == []
    assert 20 < found["points"] < 297


def test_damage_is_found_and_named(tmp_path: Path) -> None:
    write_corrupted(images(), tmp_path, corruptions=NAMES)
    assert damaged_files(tmp_path) == ()
    array = bytearray((tmp_path / "contrast.npy").read_bytes())
    array[-3] ^= 1
    (tmp_path / "contrast.npy").write_bytes(bytes(array))
    (tmp_path / "labels.npy").unlink()
    assert damaged_files(tmp_path) == ("contrast.npy", "labels.npy")
    write_corrupted(images(), tmp_path, corruptions=NAMES)
    assert damaged_files(tmp_path) == ()
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(RunError, match="is not finished"):
        read_copy(tmp_path)
    write_corrupted(images(), tmp_path, corruptions=NAMES)
    assert damaged_files(tmp_path) == ()


def test_another_copy_or_other_files_are_not_written_over(tmp_path: Path) -> None:
    write_corrupted(images(), tmp_path / "c", corruptions=NAMES)
    with pytest.raises(RunError, match="another run \\(seed 0 there, 1 here\\)"):
        write_corrupted(images(), tmp_path / "c", corruptions=NAMES, settings=CopySettings(seed=1))
    with pytest.raises(RunError, match=r"holds c without a manifest: choose another directory"):
        write_corrupted(images(), tmp_path, corruptions=NAMES)
    with pytest.raises(RunError, match="no corrupted copy"):
        read_copy_of_nothing(tmp_path)


def read_copy_of_nothing(place: Path) -> None:
    (place / "manifest.json").write_text('{"measures": "something else"}')
    read_copy(place)


def test_what_cannot_be_written_is_said_before_anything_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="arrays hold all five severities, this copy has 1, 2: choose folders"):
        write_corrupted(
            images(), tmp_path / "c", corruptions=NAMES, severities=[1, 2], settings=CopySettings(layout="arrays")
        )
    with pytest.raises(ValueError, match="cannot be the name of a folder"):
        write_corrupted(images(), tmp_path / "c", corruptions={"../x": corruption("contrast")})
    with pytest.raises(ValueError, match="Divide images by 255"):
        write_corrupted((images().x.float(), images().y), tmp_path / "c", corruptions=NAMES)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        CopySettings(workers=0)
    assert not (tmp_path / "c").exists()


def test_a_full_disk_is_said_and_the_same_call_goes_on(
    tmp_path: Path, full_after: Callable[[int], AbstractContextManager[None]]
) -> None:
    with full_after(8), pytest.raises(RunError, match=r"the disk is full.*the same call goes on"):
        write_corrupted(images(), tmp_path, corruptions=NAMES)
    assert not list(tmp_path.rglob("*.part*")) or all(p.name == ".parts" for p in tmp_path.rglob("*.part*"))
    write_corrupted(images(), tmp_path, corruptions=NAMES)
    assert damaged_files(tmp_path) == ()
