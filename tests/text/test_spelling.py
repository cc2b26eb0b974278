"""Spelling: the nearest known word, found as by comparing with all of them."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest

from robustlab.text import Speller

KNOWN = {"film": 9, "fill": 3, "files": 3, "great": 5, "greet": 5, "a": 50, "the": 40, "acting": 2, "acted": 1}


def distance(one: str, other: str) -> int:
    """Insertions, deletions, replacements and exchanges of neighbours, by the recursive definition."""

    @cache
    def between(i: int, j: int) -> int:
        if not (i and j):
            return i + j
        found = [between(i - 1, j) + 1, between(i, j - 1) + 1, between(i - 1, j - 1) + (one[i - 1] != other[j - 1])]
        if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
            found.append(between(i - 2, j - 2) + 1)
        return min(found)

    return between(len(one), len(other))


def nearest(word: str, most: int) -> str:
    distances = {other: distance(word, other) for other in KNOWN}
    found = [other for other in KNOWN if distances[other] <= most]
    return min(found, key=lambda other: (distances[other], -KNOWN[other], other), default=word)


@pytest.mark.parametrize("most", [1, 2])
def test_the_nearest_known_word_is_that_of_a_full_search(most: int) -> None:
    rng, speller = random.Random(0), Speller(KNOWN, most)
    changed = 0
    for _ in range(400):
        letters = list(rng.choice([*KNOWN]))
        for _ in range(rng.randrange(1, 3)):
            at = rng.randrange(len(letters) + 1)
            letters[at : at + rng.randrange(2)] = rng.choice(["", "x", "e"])
        word = "".join(letters)
        if len(word) >= 3 and word not in KNOWN:
            assert speller.word(word) == nearest(word, most)
            changed += speller.word(word) != word
    assert changed > 50


def test_all_that_is_not_an_unknown_word_stays() -> None:
    speller = Speller(KNOWN)
    assert speller("The film -- (great!) 3.5 zzzz, ab \u202ex 😀") == "The film -- (great!) 3.5 zzzz, ab \u202ex 😀"
    assert speller("") == ""


def test_corrections_keep_the_case() -> None:
    assert Speller(KNOWN)("Flim GRAET graet") == "Film GREAT great"


def test_words_of_texts_are_known_from_a_number_of_times_on() -> None:
    speller = Speller.of(["The film, the acting", "the film"], least=2)
    assert dict(speller.counts) == {"the": 3, "film": 2}


def test_a_victim_reads_corrected_texts() -> None:
    seen: list[object] = []

    def predict(texts: object) -> np.ndarray:
        seen.extend(texts)  # type: ignore[arg-type]
        return np.zeros((1, 2))

    Speller(KNOWN).before(predict)([("a flim", "graet")])
    assert seen == [("a film", "great")]


def test_a_distance_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Speller(KNOWN, 0)
