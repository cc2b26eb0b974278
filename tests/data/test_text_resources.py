"""Text resources: found, checked, kept and described. Made files stand in for the published ones."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from robustlab.core.errors import DataError
from robustlab.data import text_resources as module
from robustlab.data.packages import Installed
from robustlab.data.sources import Folder, Mirror, PublishedFile
from robustlab.data.text_resources import TEXT_RESOURCES, TextResource, describe_text, text_resource

CONTENT = {"words.txt": b"one\ntwo\n", "deep/vectors.bin": b"\x00\x01\x02"}
FILES = tuple(PublishedFile(name, hashlib.sha256(raw).hexdigest()) for name, raw in CONTENT.items())


class Site(Protocol):
    url: str
    asked: list[str]


def written(folder: Path, content: dict[str, bytes] = CONTENT) -> Path:
    for name, raw in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TextResource]:
    shelf = Folder(tmp_path / "shelf")
    one = TextResource("made words", "1.0", "CC0 (nobody)", 11, FILES, lambda _: [shelf], "made-words==1.0")
    yield TEXT_RESOURCES.register("made", one)
    TEXT_RESOURCES.unregister("made")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("made")
def test_files_are_kept_in_the_cache_and_found_there_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTLAB_HOME", str(tmp_path / "home"))
    shelf = written(tmp_path / "shelf")
    place = text_resource("made")
    assert place == tmp_path / "home" / "data" / "text" / "made"
    assert contents(place) == CONTENT
    for name in CONTENT:
        (shelf / name).unlink()
    assert text_resource("made", fetch=False) == place


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("way", ["root", "root/made", "folder"])
def test_the_users_folder_comes_first(tmp_path: Path, way: str) -> None:
    own = written(tmp_path / way)
    root = tmp_path / "root"
    place = text_resource("made", root=root, folder=own if way == "folder" else None, fetch=False)
    assert place == root / "text" / "made"
    assert contents(place) == CONTENT


@pytest.mark.usefixtures("made")
def test_an_archive_of_the_users_does_as_well(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "made.whl", "w") as archive:
        for name, raw in CONTENT.items():
            archive.writestr(f"made/data/{name}", raw)
    place = text_resource("made", root=tmp_path / "cache", folder=tmp_path / "made.whl", fetch=False)
    assert contents(place) == CONTENT


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
def test_a_damaged_file_is_fetched_again_and_the_others_stay(tmp_path: Path, damage: str) -> None:
    shelf = written(tmp_path / "shelf")
    place = text_resource("made", root=tmp_path / "cache")
    file = place / "words.txt"
    kept = (place / "deep" / "vectors.bin").stat().st_mtime_ns
    file.unlink()
    if damage != "missing":
        file.write_bytes(b"one\ntwx\n" if damage == "changed" else b"one")
    (shelf / "deep" / "vectors.bin").unlink()
    assert contents(text_resource("made", root=tmp_path / "cache")) == CONTENT
    assert (place / "deep" / "vectors.bin").stat().st_mtime_ns == kept


@pytest.mark.usefixtures("made")
def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    written(tmp_path / "shelf")
    (tmp_path / "cache" / "text" / "made" / "words.txt").mkdir(parents=True)
    with pytest.raises(DataError, match=r"made cannot be written .*: set ROBUSTLAB_HOME to a folder with space"):
        text_resource("made", root=tmp_path / "cache")


@pytest.mark.usefixtures("made")
def test_a_change_behind_our_back_is_noticed(tmp_path: Path) -> None:
    written(tmp_path / "shelf")
    file = text_resource("made", root=tmp_path / "cache") / "words.txt"
    assert text_resource("made", root=tmp_path / "cache", fetch=False) == file.parent
    file.write_bytes(b"two\none\n")
    os.utime(file, ns=(1, 1))
    (tmp_path / "shelf" / "words.txt").unlink()
    with pytest.raises(DataError, match="'made' is not available"):
        text_resource("made", root=tmp_path / "cache")


@pytest.mark.usefixtures("made")
def test_files_of_another_content_are_never_kept(tmp_path: Path) -> None:
    written(tmp_path / "shelf", {"words.txt": b"one\ntwo\n", "deep/vectors.bin": b"\x00\x01\x03"})
    with pytest.raises(DataError, match=r"deep/vectors.bin: not the published file, SHA-256 \w{12}…"):
        text_resource("made", root=tmp_path / "cache")
    assert not (tmp_path / "cache" / "text" / "made").exists()


@pytest.mark.usefixtures("made")
def test_what_cannot_be_found_says_what_was_tried_and_what_brings_it(tmp_path: Path) -> None:
    with pytest.raises(DataError) as seen:
        text_resource("made", root=tmp_path / "cache", folder=tmp_path / "usb")
    assert str(seen.value).splitlines() == [
        "the text resource 'made' is not available. Tried, in order:",
        f"  - folder {tmp_path / 'usb'}: no such folder",
        f"  - folder {tmp_path / 'cache'}: words.txt is not in it",
        f"  - folder {tmp_path / 'cache' / 'made'}: no such folder",
        f"  - folder {tmp_path / 'shelf'}: no such folder",
        "This brings it: robustlab data --text made (or: pip install made-words==1.0)",
    ]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no text resource is called 'golve'; did you mean glove\? There are movie-"):
        text_resource("golve")


def test_without_fetching_nobody_is_asked(made: TextResource, site: Site, tmp_path: Path) -> None:
    there = replace(made, sources=lambda parts: [Installed("absent_words"), Mirror(site.url + "/ok", parts=parts)])
    TEXT_RESOURCES.unregister("made")
    TEXT_RESOURCES.register("made", there)
    with pytest.raises(DataError) as seen:
        text_resource("made", root=tmp_path, fetch=False)
    assert "installed package absent_words: not installed" in str(seen.value)
    assert "download from" not in str(seen.value)
    assert site.asked == []


@pytest.mark.slow
def test_two_at_once_fetch_it_once(
    made: TextResource, site: Site, published: tuple[PublishedFile, ...], tmp_path: Path
) -> None:
    slow = replace(made, files=published, sources=lambda parts: [Mirror(site.url + "/slow", parts=parts)])
    TEXT_RESOURCES.unregister("made")
    TEXT_RESOURCES.register("made", slow)
    with ThreadPoolExecutor(2) as racing:
        places = list(racing.map(lambda _: text_resource("made", root=tmp_path), "ab"))
    assert [sorted(file.name for file in place.iterdir()) for place in places] == [["images.gz", "labels.gz"]] * 2
    assert sorted(site.asked) == ["/slow/images.gz", "/slow/labels.gz"]


@pytest.mark.usefixtures("made")
def test_the_description_says_where_it_is_or_what_brings_it(tmp_path: Path) -> None:
    before = {one.name: one for one in describe_text(tmp_path / "cache")}["made"]
    assert before.place is None
    assert before.command == "robustlab data --text made (or: pip install made-words==1.0)"
    assert (before.version, before.licence, before.size) == ("1.0", "CC0 (nobody)", 11)
    written(tmp_path / "shelf")
    place = text_resource("made", root=tmp_path / "cache")
    after = {one.name: one for one in describe_text(tmp_path / "cache")}["made"]
    assert after == before._replace(place=str(place))


def test_the_digest_covers_names_and_contents_and_no_order(made: TextResource) -> None:
    assert replace(made, files=FILES[::-1]).sha256 == made.sha256
    renamed = (replace(FILES[0], name="other.txt"), FILES[1])
    changed = (replace(FILES[0], sha256=FILES[1].sha256), FILES[1])
    assert len({made.sha256, replace(made, files=renamed).sha256, replace(made, files=changed).sha256}) == 3


def test_stop_words_are_there_without_a_download(tmp_path: Path) -> None:
    words = json.loads((text_resource("stop-words", root=tmp_path, fetch=False) / "stop_words.json").read_text())
    assert len(words) == len(set(words)) == 266
    assert {"the", "wouldn't", "i"} <= set(words)
    assert "The" not in words


def test_every_resource_has_digests_sizes_and_a_place_to_ask() -> None:
    for name in TEXT_RESOURCES:
        one = TEXT_RESOURCES[name]
        assert all(len(file.sha256) == 64 for file in one.files), name
        assert one.size > 1000
        assert one.shipped or one.sources(Path("parts")), name
        sources = " ".join(map(str, one.sources(Path("parts"))))
        assert one.package.removeprefix("--no-deps ") in sources, "what the message advises is what we would fetch"


@pytest.mark.parametrize("name", ["movie-sentences", "glove", "minilm", "wordnet", "vader", "tagger"])
def test_published_files_have_the_size_that_is_told(name: str) -> None:
    try:
        place = text_resource(name, fetch=False)
    except DataError:
        pytest.skip(f"the text resource {name} is not on this machine: robustlab data --text {name}")
    one = TEXT_RESOURCES[name]
    assert sum((place / file.name).stat().st_size for file in one.files) == one.size
    assert not (place / module._PARTS).exists()
