"""Typos: counted, undone, and drawn without a hidden state."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pytest
from numpy.typing import NDArray

from robustlab.core.types import Text
from robustlab.text import AttackSettings, Greedy, TextRecipe, Untargeted, Victim, attack
from robustlab.text.transformations import (
    ChangeName,
    ChangeNumber,
    DeleteCharacter,
    Disguise,
    ErasedCharacters,
    Homoglyphs,
    InsertCharacter,
    InvisibleCharacters,
    KeyboardNeighbours,
    OneOf,
    Reorderings,
    SubstituteCharacter,
    SwapNeighbours,
)
from robustlab.text.transformations.homoglyphs import LOOKALIKES
from robustlab.text.transformations.typos import neighbours

WORDS = ["film", "a", "", "no", "don't", "naïve", "😀x", "e\u0301te", "ABC", "x" * 1000]


@pytest.mark.parametrize("word", WORDS)
def test_counts_are_those_of_places(word: str) -> None:
    n = len(word)
    inside = max(0, n - 2)
    assert len(SwapNeighbours().options(word)) == max(0, n - 1)
    assert len(SwapNeighbours(inner=True).options(word)) == max(0, n - 3)
    assert len(DeleteCharacter().options(word)) == (n if n > 1 else 0)
    assert len(DeleteCharacter(inner=True).options(word)) == inside
    assert len(InsertCharacter().options(word)) == (26 * n if n > 1 else 0)
    assert len(InsertCharacter(inner=True, letters=" ").options(word)) == max(0, n - 1)
    assert len(SubstituteCharacter().options(word)) == (26 * n if n > 1 else 0)
    assert len(SubstituteCharacter(inner=True, letters="xy").options(word)) == 2 * inside
    assert len(InvisibleCharacters().options(word)) == 3 * (n + 1)
    assert len(ErasedCharacters().options(word)) == n + 1
    assert len(Reorderings().options(word)) == max(0, n - 1)


@pytest.mark.parametrize("word", ["film", "Great", "don't"])
def test_every_typo_is_one_edit_and_inner_ones_keep_the_ends(word: str) -> None:
    for new in SwapNeighbours().options(word):
        assert sorted(new) == sorted(word)
        assert sum(a != b for a, b in zip(new, word, strict=True)) in {0, 2}
    assert set(DeleteCharacter().options(word)) == {word[:i] + word[i + 1 :] for i in range(len(word))}
    for new in InsertCharacter().options(word):
        assert word in DeleteCharacter().options(new)
    for new in SubstituteCharacter().options(word):
        assert sum(a != b for a, b in zip(new, word, strict=True)) <= 1
    for typo in (SwapNeighbours(True), DeleteCharacter(True), InsertCharacter(True), SubstituteCharacter(True),
                 KeyboardNeighbours(True)):  # fmt: skip
        assert all((new[0], new[-1]) == (word[0], word[-1]) for new in typo.options(word))


def test_keys_beside_each_other() -> None:
    near = neighbours(KeyboardNeighbours().rows)
    assert all(a in near[b] for a in ascii_lowercase for b in near[a])
    assert set(near["g"]) == set("fhtyvb")
    assert set(near["q"]) == set("wa")
    assert KeyboardNeighbours().options("Qp") == ["Wp", "Ap", "Qo", "Ql"]
    assert KeyboardNeighbours().options("42") == []


def test_a_drawn_variant_is_one_of_all() -> None:
    for typo in (
        SwapNeighbours(),
        DeleteCharacter(True),
        InsertCharacter(),
        SubstituteCharacter(),
        KeyboardNeighbours(),
    ):
        every = set(typo.options("banana"))
        drawn = [OneOf(typo).draws("banana", number) for number in range(600)]
        assert all(len(one) == 1 and one[0] in every and one[0] != "banana" for one in drawn)
        assert {one[0] for one in drawn} == every - {"banana"}
    assert OneOf(SwapNeighbours()).draws("oo", 5) == []
    assert OneOf(KeyboardNeighbours()).draws("42", 5) == []


def test_what_is_not_seen_comes_off_again() -> None:
    for new in InvisibleCharacters().options("film"):
        assert "".join(c for c in new if c not in "\u200b\u200c\u200d") == "film"
    for new in ErasedCharacters().options("film"):
        assert new.replace("X\u0008", "") == "film"
    found = Homoglyphs().options("film😀")
    assert len(found) == 4
    for at, new in enumerate(found):
        assert new == "film😀"[:at] + LOOKALIKES["film"[at]] + "film😀"[at + 1 :]
    assert all(len(letter) == 1 and looks and letter not in looks for letter, looks in LOOKALIKES.items())


def test_each_character_is_disguised_with_its_chance() -> None:
    drawn = [Disguise(0.4).draws("aaaaaaaaaa", number) for number in range(2000)]
    share = sum(c != "a" for one in drawn for c in (one[0] if one else "a" * 10)) / 20_000
    assert abs(share - 0.4) < 4 * (0.4 * 0.6 / 20_000) ** 0.5
    assert {*"".join(one[0] for one in drawn if one)} == {"a", LOOKALIKES["a"]}
    assert Disguise(0.0).draws("film", 1) == []
    assert Disguise(1.0).draws("ab😀", 1) == [f"{LOOKALIKES['a']}{LOOKALIKES['b']}😀"]
    assert Disguise(1.0).draws("😀", 1) == []


def test_reordered_characters_are_shown_in_the_old_order() -> None:
    def shown(text: str) -> str:
        """The order in which a right-to-left run shows its isolated parts."""
        before, _, rest = text.partition("\u202e")
        run, _, after = rest.rpartition("\u202c")
        parts = [part[1:-1] for part in run.removeprefix("\u2066").removesuffix("\u2069").split("\u2069\u2066")]
        return before + "".join(reversed(parts)) + after

    found = Reorderings().options("film")
    assert [shown(one) for one in found] == ["film"] * 3
    letters = ["".join(filter(str.isalpha, one)) for one in found]
    assert letters == SwapNeighbours().options("film")


def test_numbers_and_names_are_drawn() -> None:
    drawn = Counter(one for number in range(4000) for one in ChangeNumber(1).draws("12", number))
    assert set(drawn) == {str(n) for n in range(1, 25)} - {"12"}
    assert [ChangeNumber().draws(one, 3) for one in ("0", "2", "4", "00", "film", "1" * 7, "²", "٣")] == [[]] * 8
    spelled = ChangeNumber().draws("Five", 77)
    assert len(set(spelled)) == 3
    assert all(one.istitle() and one != "Five" for one in spelled)
    names = ChangeName().draws("James", 123)
    assert len({*names, "James"}) == 4
    assert ChangeName().draws("james", 123) == []


def _drawn(ids: list[int], seed: int = 0) -> dict[int, object]:
    """Texts that a failed attack by random typos ends with; every change helps a little."""

    def predict(texts: Sequence[Text]) -> NDArray[np.float64]:
        length = np.array([sum(map(ord, str(one))) % 97 for one in texts])
        return np.stack([length / 1000, 1 - length / 1000], axis=1)

    typos = (OneOf(SwapNeighbours()), OneOf(SubstituteCharacter()), OneOf(InsertCharacter()))
    recipe = TextRecipe("typos", Untargeted(), typos, (), Greedy())
    text = "the film was wonderful and so was the music of the film"
    victim, how = Victim(predict, 2, "sum", "sum"), AttackSettings(seed=seed)
    found = attack(victim, [text] * len(ids), [1] * len(ids), recipe, ids=ids, settings=how)
    return {one.id: one.adversarial for one in found}


def test_chance_depends_on_seed_and_example_alone() -> None:
    every = _drawn([0, 1, 2, 3])
    assert len(set(every.values())) == 4
    assert _drawn([3, 1]) == {3: every[3], 1: every[1]}
    assert _drawn([0], seed=1)[0] != every[0]


@pytest.mark.slow
def test_chance_does_not_depend_on_how_strings_are_hashed() -> None:
    root = Path(__file__).parents[3]
    program = "from tests.text.transformations.test_typos import _drawn; print(sorted(_drawn([4, 5]).items()))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert outputs == {f"{sorted(_drawn([4, 5]).items())}\n"}
