"""robustlab data --text: a list of what attacks on texts need, and its download."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from robustlab.data import TEXT_RESOURCES, TextResource
from robustlab.data.sources import Folder, PublishedFile

CONTENT = b"one\ntwo\n"
FILE = PublishedFile("words.txt", hashlib.sha256(CONTENT).hexdigest())


class Done(Protocol):
    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture(autouse=True)
def made(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty home, and two made resources beside the published ones."""
    monkeypatch.setenv("ROBUSTLAB_HOME", str(place / "home"))
    shelf = Folder(place / "shelf")
    for name in ("made-words", "more-words"):
        one = TextResource("made words", "1.0", "CC0 (nobody)", 8, (FILE,), lambda _: [shelf], "words==1.0")
        TEXT_RESOURCES.register(name, one)
    yield
    for name in ("made-words", "more-words"):
        TEXT_RESOURCES.unregister(name)


def test_the_list_says_what_is_there_and_what_brings_the_rest(command: Command) -> None:
    listed = command("data", "--text")
    assert listed.code == 0
    for name in TEXT_RESOURCES:
        assert f"\n{name}\n" in f"\n{listed.out}"
    assert "not here; robustlab data --text made-words (or: pip install words==1.0)" in listed.out
    assert "1.0, 0.0 kB, SHA-256 " in listed.out
    rows = {row["name"]: row for row in json.loads(command("data", "--text", "--json").out)}
    assert rows["made-words"]["place"] is None
    assert rows["stop-words"]["place"]
    assert all(len(row["sha256"]) == 64 for row in rows.values())


def test_a_name_fetches_it_from_a_folder_of_the_users(command: Command, place: Path) -> None:
    (place / "usb").mkdir()
    (place / "usb" / "words.txt").write_bytes(CONTENT)
    done = command("data", "--text", "made-words", "--from", "usb")
    assert done.code == 0
    assert f"here: {place / 'home' / 'data' / 'text' / 'made-words'}" in done.out.replace("\n", "")
    assert (place / "home" / "data" / "text" / "made-words" / "words.txt").read_bytes() == CONTENT


def test_what_is_nowhere_is_an_error_that_says_what_was_tried(command: Command) -> None:
    done = command("data", "--text", "made-words")
    assert done.code == 2
    assert "'made-words' is not available. Tried, in order:" in done.err
    assert "This brings it: robustlab data --text made-words" in done.err


def test_all_fetches_what_there_is_and_names_the_rest(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(TEXT_RESOURCES), "names", lambda _: ("made-words", "more-words"))
    elsewhere = TextResource("more", "1.0", "CC0", 8, (FILE,), lambda _: [Folder(place / "other")])
    TEXT_RESOURCES.unregister("made-words")
    TEXT_RESOURCES.register("made-words", elsewhere)
    (place / "shelf").mkdir()
    (place / "shelf" / "words.txt").write_bytes(CONTENT)
    done = command("data", "--text", "all", "--json")
    assert done.code == 2
    assert [row["place"] is None for row in json.loads(done.out)] == [True, False]
    assert "'made-words' is not available" in done.err


@pytest.mark.parametrize(
    "words", [["digits", "--from", "x"], ["--text", "--from", "x"], ["--text", "all", "--from", "x"]]
)
def test_a_folder_belongs_to_one_name(command: Command, words: list[str]) -> None:
    done = command("data", *words)
    assert done.code == 2
    assert "--from goes with --text and the name of one text resource" in done.err


def test_an_unknown_name_is_answered_with_the_nearest(command: Command) -> None:
    done = command("data", "--text", "made-word")
    assert done.code == 2
    assert "no text resource is called 'made-word'; did you mean made-words?" in done.err
