"""Run directories that somebody else made: read as data, in one sentence if they are not what they should be."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from robustlab.attacks import FGSM
from robustlab.core import Linf, RobustlabError, ThreatModel
from robustlab.data import InMemory
from robustlab.evaluation import (
    CopySettings,
    CorruptionSettings,
    Settings,
    damaged_files,
    evaluate,
    evaluate_corruptions,
    pictures,
    read_copy,
    read_corruptions,
    read_run,
    write_corrupted,
)
from robustlab.evaluation.corruptions.answers import read_answers

ESCAPES = "\x1b]0;title\x07\x1b[31mred\u202e\r"
NET = nn.Sequential(nn.Flatten(), nn.Linear(1024, 3)).eval()
DATA = InMemory(
    "noise",
    ("a", "b", "c"),
    torch.randint(256, (9, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(9) % 3,
)


def attacked(out: Path) -> object:
    return evaluate(NET, DATA, attacks=[FGSM(ThreatModel(Linf(), 0.1))], out=out, settings=Settings(doctor=False))


def corrupted(out: Path) -> object:
    return evaluate_corruptions(
        NET, DATA, corruptions=["contrast"], severities=(1, 2), out=out, settings=CorruptionSettings()
    )


def copied(out: Path) -> object:
    return write_corrupted(DATA, out, corruptions=["contrast"], settings=CopySettings(layout="arrays"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished directory of each kind."""
    home = tmp_path_factory.mktemp("runs")
    for name, make in {"attacked": attacked, "corrupted": corrupted, "copied": copied}.items():
        make(home / name)
    for manifest in home.glob("*/manifest.json"):
        known = {n: v for n, v in json.loads(manifest.read_text()).items() if n not in ("sealed", "sums")}
        manifest.write_text(json.dumps(known))  # as an older version wrote it, which vouches for no file
    return home


@pytest.fixture
def theirs(made: Path, tmp_path: Path) -> Path:
    """Copies of these directories, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "theirs"))


def result(place: Path) -> object:
    found = read_run(place)
    return found, pictures(found, found.gallery)


READ: dict[str, tuple[str, Callable[[Path], object]]] = {
    "attacked/manifest.json": ("attacked", read_run),
    "attacked/report.json": ("attacked", result),
    "corrupted/manifest.json": ("corrupted", read_corruptions),
    "corrupted/corruptions.json": ("corrupted", read_corruptions),
    "copied/manifest.json": ("copied", read_copy),
}
TEXTS = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 400 + b"1" + b"}" * 400,
    b'{"schema": 1e999}',
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:12]))
@pytest.mark.parametrize("name", READ)
def test_what_is_no_json_object_is_one_sentence_with_the_files_name(theirs: Path, name: str, text: bytes) -> None:
    place, read = READ[name]
    (theirs / name).write_bytes(text)
    with pytest.raises(RobustlabError, match=name.rpartition("/")[0]) as seen:
        read(theirs / place)
    assert "\n" not in str(seen.value)


def changed(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def inner(found: dict[str, object], *names: str | int) -> dict[str, object]:
    for name in names:
        found = found[name]  # type: ignore[index, assignment]
    return found


CHANGES: dict[str, tuple[str, Callable[[dict[str, object]], object]]] = {
    "eps of nothing": ("attacked/report.json", lambda f: inner(f, "worst", 0).update(eps=None)),
    "a number beyond all": ("attacked/report.json", lambda f: inner(f, "worst", 0).update(eps=10**400)),
    "evidence that is a list": ("attacked/report.json", lambda f: inner(f, "run").update(seconds=[1])),
    "pictures elsewhere": ("attacked/report.json", lambda f: inner(f, "gallery", 0).update(file="../../etc/passwd")),
    "pictures at the root": ("attacked/report.json", lambda f: inner(f, "gallery", 0).update(file="/etc/passwd")),
    "a row that is not there": ("attacked/report.json", lambda f: inner(f, "gallery", 0).update(row=9999)),
    "a row before the first": ("attacked/report.json", lambda f: inner(f, "gallery", 0).update(row=-1)),
    "a missing cell": ("corrupted/corruptions.json", lambda f: cast("list[object]", f["cells"]).pop()),
    "a corruption by another name": (
        "corrupted/corruptions.json",
        lambda f: inner(f, "corruptions", 0).update(name="x"),
    ),
    "no corruptions": ("corrupted/manifest.json", lambda f: f.update(corruptions=[])),
    "images without pixels": ("copied/manifest.json", lambda f: f.update(shape=[])),
    "images of two channels": ("copied/manifest.json", lambda f: f.update(shape=[2, 32, 32])),
    "another corruption": ("copied/manifest.json", lambda f: inner(f, "corruptions", 0).update(name="fog")),
    "too many images": ("copied/manifest.json", lambda f: f.update(n=45)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_records_that_cannot_be_are_refused(theirs: Path, what: str) -> None:
    name, change = CHANGES[what]
    place, read = READ[name]
    changed(theirs / name, change)
    with pytest.raises(RobustlabError):
        read(theirs / place)


def test_words_of_others_hold_nothing_that_a_terminal_obeys(theirs: Path) -> None:
    changed(theirs / "attacked/report.json", lambda f: inner(f, "model").update(name=f"model {ESCAPES}"))
    assert read_run(theirs / "attacked").model.name == "model ]0;title[31mred"


class Bomb:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["labels.npy", "contrast.npy", "clean/images.npy"])
@pytest.mark.parametrize("kind", ["objects", "a pickle", "floats", "half"])
def test_arrays_of_a_copy_are_never_unpickled(theirs: Path, tmp_path: Path, name: str, kind: str) -> None:
    path, bomb = theirs / "copied" / name, Bomb(tmp_path / "went off")
    if kind == "objects":
        np.save(path, np.array([bomb] * 45, dtype=object), allow_pickle=True)
    elif kind == "a pickle":
        path.write_bytes(pickle.dumps(bomb))
    elif kind == "floats":
        np.save(path, np.load(path).astype(np.float64))
    else:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RobustlabError, match=path.name):
        read_copy(theirs / "copied")
    assert not bomb.path.exists()


def test_sums_that_lead_elsewhere_are_not_followed(theirs: Path) -> None:
    sums = theirs / "copied" / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  ../../../etc/passwd\n")
    with pytest.raises(RobustlabError, match="which is outside it: its files were changed"):
        damaged_files(theirs / "copied")
    sums.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RobustlabError, match="SHA256SUMS cannot be read"):
        read_copy(theirs / "copied")


@pytest.mark.parametrize("name", ["outcomes.sqlite", "adversarial", "report.json", ".lock"])
def test_links_that_lead_elsewhere_are_not_written_through(tmp_path: Path, name: str) -> None:
    home, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (elsewhere / "mine.partial").write_text("mine")
    (home / name).symlink_to(elsewhere if name == "adversarial" else elsewhere / "mine.partial")
    with pytest.raises(RobustlabError, match=f"{name} is a link that leads out of the run's directory"):
        attacked(home)
    assert [(path.name, path.read_text()) for path in elsewhere.iterdir()] == [("mine.partial", "mine")]


def test_answers_that_do_not_fit_a_run_are_refused(theirs: Path) -> None:
    path, cells = theirs / "corrupted" / "answers.safetensors", [("clean", 0), ("contrast", 1), ("contrast", 2)]
    before = {name: value for name, value in load_file(path).items() if name != "check"}
    for broken in (
        {},
        {"ids": torch.zeros(1)},
        {**before, "prediction": torch.zeros(3, 4)},
        {**before, "label": torch.zeros(2)},
    ):
        save_file(broken, path)
        with pytest.raises(RobustlabError, match=r"answers\.safetensors (lacks|holds|does not fit)"):
            read_answers(path.parent, cells, "", signed=False)
