"""Fashion-MNIST: sources, cache, two processes at once. Made files stand in for the published ones."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
import torch
from safetensors import SafetensorError

from robustlab.core.errors import DataError
from robustlab.data import InMemory, load
from robustlab.data import fashion_mnist as module
from robustlab.data.fashion_mnist import CLASSES, cache_path, fashion_mnist
from robustlab.data.idx import parse_idx
from robustlab.data.sources import Folder, Mirror, PublishedFile

Files = tuple[PublishedFile, ...]


class Site(Protocol):
    url: str
    asked: list[str]


@pytest.fixture
def made(published: Files, content: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> InMemory:
    """Three made images take the place of the test images."""
    whole = InMemory("made", CLASSES, parse_idx(content["images.gz"]).unsqueeze(1), parse_idx(content["labels.gz"]))
    monkeypatch.setattr(module, "_FILES", {"test": published})
    monkeypatch.setattr(module, "_PREPARED", {"test": whole.sha256})
    return whole


def test_a_download_is_prepared_and_kept(made: InMemory, site: Site, tmp_path: Path) -> None:
    first = fashion_mnist(root=tmp_path, sources=[Mirror(site.url + "/ok")])
    second = fashion_mnist(root=tmp_path, sources=[])
    assert len(site.asked) == 2
    assert torch.equal(first.x, made.x)
    assert torch.equal(second.x, made.x)
    assert second.y.tolist() == [2, 0, 9]
    assert first.source == second.source == f"download from {site.url}/ok"
    batch = second.batch(torch.tensor([2, 0]))
    assert batch.x.shape == (2, 1, 28, 28)
    assert batch.y.tolist() == [9, 2]
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix != ".lock"] == [".safetensors"]


def test_the_home_folder_is_asked_for(
    made: InMemory, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTLAB_HOME", str(tmp_path / "home"))
    fashion_mnist(sources=[Mirror(site.url + "/ok")])
    assert (tmp_path / "home" / "data" / "fashion-mnist-test.safetensors").is_file()
    assert len(fashion_mnist(sources=[])) == len(made)


@pytest.mark.parametrize("damage", ["truncated", "another content"])
def test_a_damaged_cache_is_made_again(made: InMemory, site: Site, tmp_path: Path, damage: str) -> None:
    fashion_mnist(root=tmp_path, sources=[Mirror(site.url + "/ok")])
    path = cache_path("test", tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10] if damage == "truncated" else whole[:-1] + b"\x07")
    again = fashion_mnist(root=tmp_path, sources=[Mirror(site.url + "/ok")])
    assert len(site.asked) == 4
    assert again.sha256 == made.sha256
    assert path.read_bytes() == whole


@pytest.mark.usefixtures("made")
def test_a_cache_that_cannot_be_written_costs_only_a_warning(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        found = fashion_mnist(root=blocked, sources=[Mirror(site.url + "/ok")])
    assert len(found) == 3
    assert "cannot be kept" in caplog.text
    assert "set ROBUSTLAB_HOME to a folder with space" in caplog.text


@pytest.mark.usefixtures("made")
def test_a_full_disk_costs_only_a_warning(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with caplog.at_level(logging.WARNING):
        found = fashion_mnist(root=tmp_path, sources=[Mirror(site.url + "/ok")])
    assert len(found) == 3
    assert "No space left on device" in caplog.text
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


@pytest.mark.slow
def test_two_processes_prepare_it_once(made: InMemory, published: Files, site: Site, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from robustlab.data import fashion_mnist as module
from robustlab.data.sources import Mirror, PublishedFile
module._FILES = {{"test": [PublishedFile(*file) for file in {[(file.name, file.sha256) for file in published]!r}]}}
module._PREPARED = {{"test": {made.sha256!r}}}
print(module.fashion_mnist(root=Path({str(tmp_path)!r}), sources=[Mirror({site.url + "/slow"!r})]).y.tolist())
"""
    command = [sys.executable, "-c", script]
    racing = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) for _ in "ab"
    ]
    answers = [process.communicate(timeout=120)[0] for process in racing]
    assert [json.loads(answer) for answer in answers] == [[2, 0, 9], [2, 0, 9]]
    assert sorted(site.asked) == ["/slow/images.gz", "/slow/labels.gz"]


def test_other_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="has the splits 'train', 'test' and 'all', not 'valid'"):
        fashion_mnist("valid")


def test_without_a_source_it_falls_back_to_the_digits_only_if_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "default_sources", lambda _: [Folder(tmp_path / "none")])
    with pytest.raises(DataError, match="Fashion-MNIST is not available"):
        load("fashion-mnist", root=tmp_path)
    with pytest.warns(UserWarning, match=r"(?s)folder .*none: no such folder.*FALLING BACK to scikit-learn's digits"):
        found = load("fashion-mnist", root=tmp_path, fallback=True)
    assert found.name == "digits test enlarged to 28x28"
    assert found.batch(torch.arange(2)).x.shape == (2, 1, 28, 28)


def test_the_places_are_tried_in_the_stated_order(tmp_path: Path) -> None:
    places = [str(source) for source in module.default_sources(tmp_path)]
    assert places[0] == f"folder {tmp_path}"
    assert places[2] == f"folder {Path('/usr/share/datasets/fashion-mnist')}"
    assert places[3].startswith("download from http")
    assert places[-1] == "Debian package dataset-fashion-mnist (apt-get download)"


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_real_data_is_whole_where_it_is_cached(split: str) -> None:
    if not cache_path(split).is_file():
        pytest.skip("Fashion-MNIST is not in the cache")
    found = fashion_mnist(split, sources=[])
    assert found.x.shape == ({"train": 60_000, "test": 10_000}[split], 1, 28, 28)
    assert found.y.bincount().tolist() == [len(found) // 10] * 10
