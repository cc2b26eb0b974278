"""The page on mining follows from the list in the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from robustlab.core import RunError
from robustlab.data import InMemory
from robustlab.data.fashion_mnist import CLASSES
from robustlab.studies.mining import Judge, Mined, read
from robustlab.studies.mining.page import draw, page, published
from robustlab.studies.mining.words import confusions, sentences, tables

SMALL = Mined(
    data="ten",
    sha256="",
    classes=CLASSES,
    per_class=(1,) * 10,
    folds=2,
    seed=0,
    budget="full",
    below=0.15,
    networks={"one": "Network()", "two": "Network()"},
    members=(0, 3),
    labels=(0, 3),
    taken_for=(3, 0),
    suspects=(5,),
    suggested=(7,),
    control=(1, 2),
    members_per_class=(1, 0, 0, 1, *(0,) * 6),
    suspects_per_class=(*(0,) * 5, 1, *(0,) * 4),
    wrong=4,
    flagged=2,
    label_error_share=0.1,
    judges=(
        Judge("one", True, {"all": 6, "members": 0, "control": 2, "suspects": 0}, 2, 0),
        Judge("two", False, {"all": 7, "members": 1, "control": 2, "suspects": 0}, 1, 0),
    ),
)


def test_the_page_in_the_guide_is_of_the_list_that_comes_with_the_package() -> None:
    stored = Path(__file__).parents[2] / "docs" / "guide" / "mining.md"
    assert stored.read_text(encoding="utf-8") == page(*published()), "write it anew: python docs/make_mining.py"


def test_the_published_list_is_consistent() -> None:
    found, _ = published()
    assert list(found.members) == sorted(set(found.members))
    assert set(found.members).isdisjoint(found.suspects)
    assert set(found.members).isdisjoint(found.control)
    assert sum(found.per_class) == 70_000
    assert sum(found.members_per_class) == len(found) == len(found.control) == len(found.labels)
    assert all(label != taken for label, taken in zip(found.labels, found.taken_for, strict=True))
    voting = [judge for judge in found.judges if judge.votes]
    assert len(voting) >= 3
    assert all(judge.right["members"] == judge.right["suspects"] == 0 for judge in voting)


def test_the_published_list_is_hard_for_networks_without_a_vote() -> None:
    found, _ = published()
    held_out = [judge for judge in found.judges if not judge.votes]
    assert {judge.network for judge in held_out} == {"inverted-cnn", "patch-mixer"}
    for judge in held_out:
        assert found.accuracy(judge, "members").high < 0.2
        assert found.accuracy(judge, "control").low > 0.75
        assert found.p_value(judge) < 1e-6


def test_counts_and_fractions_are_put_into_words() -> None:
    lines = sentences(SMALL)
    assert lines[0] == "one gets 4 of 10 examples wrong, out of 2 folds."
    assert "of 3 of these" in lines[1]
    assert "of 1 of the hard ones (33.3" in lines[2]
    assert lines[3].startswith("2 hard examples")
    assert "two, which had no vote, is right about 50.0 [1.3, 98.7] per cent of the members" in lines[4]
    assert "\N{MINUS SIGN}50.0 points" in lines[4]
    judged, classes = tables(SMALL)
    assert [row[0] for row in judged.rows] == ["one", "two (no vote)"]
    assert classes.rows[-1][1:3] == ["10", "2"]
    assert confusions(SMALL) == ["T-shirt/top for Dress: 1", "Dress for T-shirt/top: 1"]


def test_no_hard_example_is_put_into_words_too() -> None:
    nothing = replace(
        SMALL,
        members=(),
        labels=(),
        taken_for=(),
        suspects=(),
        control=(),
        members_per_class=(0,) * 10,
        judges=tuple(replace(one, right={**one.right, "members": 0, "control": 0}) for one in SMALL.judges),
    )
    assert sentences(nothing)[-1] == "two, which had no vote, has nothing to be compared on."
    assert tables(nothing)[0].rows[0][2] == "\N{EN DASH}"


def test_the_overlap_of_two_lists_is_put_into_words() -> None:
    text = page(SMALL, replace(SMALL, seed=1, members=(3, 4), suspects=(5, 6)))
    assert "(seed 1) the same committee finds 4 hard images, 2 of them members" in text
    assert "66.7" in text
    assert "(seed" not in page(SMALL, None)


def test_pictures_are_drawn(tmp_path: Path) -> None:
    data = InMemory("ten", CLASSES, torch.zeros(10, 1, 28, 28, dtype=torch.uint8), torch.arange(10))
    draw(SMALL, data, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["fashion-mnist-a-members.png", "fashion-mnist-a-suspects.png"]


@pytest.mark.parametrize("content", ["", "{}", '{"judges": []}', "[]"])
def test_a_file_of_something_else_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "mined.json").write_text(content)
    with pytest.raises(RunError, match=r"is no result of mining .* run robustlab mine again"):
        read(tmp_path / "mined.json")
