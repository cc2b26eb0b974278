"""Downloads that succeed, break off, are damaged, or have other content."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from robustlab.core.errors import DataError
from robustlab.data.sources import DebianPackage, Folder, Mirror, PublishedFile, Source, fetch, first_that_works
from robustlab.runs import Progress

Files = tuple[PublishedFile, ...]


class Site(Protocol):
    url: str
    asked: list[str]


def written(content: dict[str, bytes], folder: Path, *, packed: bool = True) -> None:
    for name, raw in content.items():
        path = folder / (name if packed else name.removesuffix(".gz"))
        path.write_bytes(gzip.compress(raw) if packed else raw)


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_hands_out_files_packed_or_not(
    published: Files, content: dict[str, bytes], tmp_path: Path, packed: bool
) -> None:
    written(content, tmp_path, packed=packed)
    images, labels = fetch(published, Folder(tmp_path))
    assert len(images) == 16 + 3 * 28 * 28
    assert labels[-3:] == bytes([2, 0, 9])


def test_a_mirror_hands_out_files_and_tells_its_progress(published: Files, site: Site) -> None:
    told: list[Progress] = []
    images, _ = fetch(published, Mirror(site.url + "/ok/"), told.append)
    assert images[:4] == bytes([0, 0, 8, 3])
    assert (told[-1].task, told[-1].done, told[-1].unit) == ("fetch labels.gz", told[-1].total, "bytes")


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("truncated", r"images.gz: truncated, \d+ of \d+ bytes arrived"),
        ("cut", r"images.gz: truncated, the packed data ends after \d+ bytes"),
        ("corrupt", r"images.gz: (damaged|not the published file)"),
        ("other", r"images.gz: not the published file, SHA-256 \w{12}… instead of \w{12}…"),
        ("missing", r"images.gz: the server answered 404 Not Found"),
    ],
)
def test_a_bad_download_is_refused(published: Files, site: Site, way: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fetch(published, Mirror(f"{site.url}/{way}"))


def test_only_the_web_is_asked(published: Files, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not an http address"):
        fetch(published, Mirror(tmp_path.as_uri()))


def test_the_next_source_is_tried_and_named(published: Files, site: Site, tmp_path: Path) -> None:
    places: list[Source] = [Folder(tmp_path / "none"), Mirror(site.url + "/corrupt"), Mirror(site.url + "/ok")]
    _, source = first_that_works("Digits", published, places)
    assert source == f"download from {site.url}/ok"
    assert site.asked == ["/corrupt/images.gz", "/ok/images.gz", "/ok/labels.gz"]


def test_failing_everywhere_says_what_was_tried_and_why(published: Files, site: Site, tmp_path: Path) -> None:
    places: list[Source] = [
        Folder(tmp_path / "none"),
        Folder(tmp_path),
        Mirror(site.url + "/missing"),
        Mirror("http://127.0.0.1:9"),
    ]
    with pytest.raises(DataError) as seen:
        first_that_works("Digits", published, places)
    lines = str(seen.value).splitlines()
    assert lines[0] == "Digits is not available. Tried, in order:"
    assert lines[1] == f"  - folder {tmp_path / 'none'}: no such folder"
    assert lines[2] == f"  - folder {tmp_path}: images.gz is not in it"
    assert lines[3].endswith("/missing: images.gz: the server answered 404 Not Found")
    assert "refused" in lines[4]


def test_without_apt_the_debian_package_is_passed_over(published: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(DataError, match="no apt-get"):
        fetch(published, DebianPackage("dataset-none", "usr"))


def test_the_debian_package_is_unpacked_in_a_folder_that_goes_away(
    published: Files, content: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def run(command: list[str], *, cwd: str, **_: object) -> subprocess.CompletedProcess[str]:
        seen.append(Path(cwd))
        if command[0] == "apt-get":
            Path(cwd, "dataset-none_1_all.deb").touch()
        else:
            Path(cwd, "unpacked", "usr").mkdir(parents=True)
            written(content, Path(cwd, "unpacked", "usr"))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", run)
    assert fetch(published, DebianPackage("dataset-none", "usr"))[1][-3:] == bytes([2, 0, 9])
    assert len(seen) == 2
    assert not seen[0].exists()


def test_apts_own_words_are_handed_on(published: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 100, "", "W: noise\nE: Unable to locate package dataset-none\n")

    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(
        DataError, match=r"'apt-get download dataset-none' failed: E: Unable to locate .*apt-get update"
    ):
        fetch(published, DebianPackage("dataset-none", "usr"))
