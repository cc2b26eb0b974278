"""Data sets by name, their descriptions, the photographs, the progress bars."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from robustlab.core.errors import DataError
from robustlab.data import describe, imagenet_classes, load, names, photographs, progress_bars
from robustlab.data.cache import home, store
from robustlab.data.fashion_mnist import cache_path
from robustlab.runs import Progress


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"called 'mnist'; did you mean fashion-mnist\? There are fashion-mnist, .*digits, photographs"
    ):
        load("mnist")


def test_every_name_is_described() -> None:
    assert tuple(entry.name for entry in describe()) == names()


def test_descriptions_name_the_sources_of_data(tmp_path: Path) -> None:
    absent = describe(tmp_path)[0]
    assert absent.place is None
    assert f"folder {tmp_path}" in absent.source
    assert "download from http" in absent.source
    for split in ("train", "test"):
        store(cache_path(split, tmp_path), {"x": torch.zeros(1)}, {"source": "a friend"})
    present = describe(tmp_path)[0]
    assert (present.place, present.source) == (str(tmp_path), "a friend")


def test_the_home_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROBUSTLAB_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("ROBUSTLAB_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert home() == tmp_path / "cache" / "robustlab"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert home() == tmp_path / "local" / "robustlab"


def test_photographs_are_squares_in_unit_range() -> None:
    pytest.importorskip("skimage")
    found = photographs(size=64)
    assert {"chelsea", "coffee", "rocket", "china"} <= set(found)
    for photo in found.values():
        assert photo.x.shape == (1, 3, 64, 64)
        assert 0 <= float(photo.x.min()) < float(photo.x.max()) <= 1
    assert imagenet_classes()[int(found["coffee"].y)] == "espresso"
    assert imagenet_classes()[281] == "tabby"
    with pytest.raises(ValueError, match="'astronaut' shows no class of ImageNet"):
        _ = found["astronaut"].y


def test_labelled_photographs_are_a_data_set() -> None:
    pytest.importorskip("skimage")
    found = load("photographs", size=32)
    assert [found.classes[k] for k in found.batch(torch.arange(len(found))).y.tolist()] == [
        "Egyptian cat",
        "espresso",
        "missile",
        "tripod",
        "palace",
    ]
    assert found.batch(torch.tensor([1])).x.shape == (1, 3, 32, 32)


def test_without_scikit_image_the_photographs_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustlab.data.photos.find_spec", lambda _: None)
    with pytest.raises(DataError, match="pip install scikit-image"):
        photographs()


def test_another_photograph_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from importlib.machinery import ModuleSpec

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "chelsea.png").write_bytes(b"another")
    spec = ModuleSpec("skimage", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("robustlab.data.photos.find_spec", lambda _: spec)
    with pytest.raises(DataError, match=r"chelsea.png is missing or not the expected photograph"):
        photographs()


def test_bars_show_each_file() -> None:
    terminal = io.StringIO()
    with progress_bars(console=Console(file=terminal, force_terminal=True, width=100)) as progress:
        progress(Progress("fetch images.gz", 500_000, 1_000_000, "bytes"))
        progress(Progress("fetch images.gz", 1_000_000, 1_000_000, "bytes"))
        progress(Progress("fetch labels.gz", 700_000, None, "bytes"))
    assert "1.0/1.0 MB" in terminal.getvalue()
    assert "labels.gz" in terminal.getvalue()
