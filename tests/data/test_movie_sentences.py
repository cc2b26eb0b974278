"""The rated sentences of film reviews, and their split."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from robustlab.core.errors import DataError
from robustlab.data import movie_sentences, text_resource
from robustlab.data import text_resources as resources
from robustlab.data.movie_sentences import Split
from robustlab.data.sentences import Sentences

LINES = {"train": 8454, "validation": 1057, "test": 1057}
PUBLISHED = {  # SHA-256 of the line numbers as a JSON list, made by other code
    "train": "f90f246e5ef37128dc843840b6ad437bc2e2154c70b71270501330185f9901b7",
    "validation": "c7045315c50b11ca3f8ad5ed4e43bc1405c0f3cc516c41fba9009b5f8d76d5ae",
    "test": "13f347cbb4edb23e7eef0a328d57f0c1a789fe5e08cf5f4375d31e0d2df94bb7",
}


@pytest.fixture
def file() -> Path:
    try:
        return text_resource("movie-sentences", fetch=False) / "movieReviewSnippets_GroundTruth.txt"
    except DataError:
        pytest.skip("the movie sentences are not on this machine: robustlab data --text movie-sentences")


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_split_is_the_published_one(split: Split) -> None:
    found = movie_sentences(split)
    assert len(found) == LINES[split]
    assert hashlib.sha256(json.dumps(found.ids.tolist()).encode()).hexdigest() == PUBLISHED[split]


@pytest.mark.usefixtures("file")
def test_the_parts_are_disjoint_and_make_up_all() -> None:
    whole = movie_sentences("all")
    parts = [movie_sentences(split) for split in ("train", "validation", "test")]
    assert sorted(np.concatenate([part.ids for part in parts]).tolist()) == whole.ids.tolist()
    assert np.bincount(whole.labels).tolist() == [5326, 5242]


def test_texts_and_labels_are_those_of_their_line(file: Path) -> None:
    found = movie_sentences("test")
    lines = file.read_bytes().split(b"\n")
    for text, label, number in zip(found.texts, found.labels, found.ids, strict=True):
        _, rating, sentence = lines[number].split(b"\t")
        assert isinstance(text, str)
        assert text.encode("latin-1") == sentence.strip()
        assert label == (float(rating) > 0)
    assert found.classes == ("negative", "positive")


def test_a_file_of_another_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "movieReviewSnippets_GroundTruth.txt").write_text("1\t2.0\tgood\n")
    monkeypatch.setattr(resources, "first_that_works", _tries_folders_only)
    with pytest.raises(DataError, match="not the published file"):
        movie_sentences("test", root=tmp_path)


def _tries_folders_only(what: str, files: object, sources: list[object], _: object) -> object:
    from robustlab.data.sources import Folder, first_that_works

    return first_that_works(what, files, [one for one in sources if isinstance(one, Folder)])  # type: ignore[arg-type]


def sentences(**changes: object) -> Sentences:
    given = {"texts": ("a", "b", "c"), "labels": np.array([0, 1, 1]), "ids": np.array([5, 3, 4]), "classes": ("x", "y")}
    return Sentences(**{**given, **changes})  # type: ignore[arg-type]


def test_a_part_keeps_texts_labels_and_ids_together() -> None:
    part = sentences().part([2, 0])
    assert (part.texts, part.labels.tolist(), part.ids.tolist()) == (("c", "a"), [1, 0], [4, 5])
    assert sentences().part(slice(1, None)).texts == ("b", "c")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": ("a", "b")}, "2 texts, 3 labels and 3 ids"),
        ({"texts": ("a", None, "c")}, "NoneType 'None' as the text of example 1: give a string"),
        ({"texts": ("a", b"b", "c")}, "bytes .* as the text of example 1"),
        ({"texts": ("a", 2, "c")}, "int '2' as the text of example 1"),
        ({"texts": (("a", "b"), ("a", None), ("a", "b"))}, "as the text of example 1"),
        ({"texts": (("a", "b"), "b", ("c", "d"))}, "texts of 1 and of 2 fields"),
        ({"texts": ((), (), ())}, "no field as the text of example 0"),
        ({"labels": np.array([0, 1, 2])}, r"label 2 in example 2, but its classes are 0\.\.1"),
        ({"labels": np.array([0, -1, 1])}, "label -1 in example 1"),
        ({"ids": np.array([1, 2, 1])}, "an id twice"),
    ],
)
def test_what_is_no_labelled_text_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        sentences(**changes)


def test_the_digest_depends_on_all_there_is_in_it() -> None:
    others = [
        sentences(texts=("a", "b", "d")),
        sentences(labels=np.array([0, 1, 0])),
        sentences(ids=np.array([5, 3, 6])),
        sentences(classes=("x", "z")),
        sentences().part([1, 0, 2]),
        sentences(texts=("\ud800", "b", "c")),
    ]
    assert len({one.sha256 for one in [sentences(), *others]}) == 7
    assert sentences(name="other").sha256 == sentences().sha256
