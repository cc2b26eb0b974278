"""Constraints against their definitions, counted out by brute force."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from robustlab.text import Change, Words, cut
from robustlab.text.constraints import (
    AgainstBefore,
    EditDistance,
    KeepOpinion,
    Likelihood,
    MeanVector,
    MinLength,
    MostChanged,
    NoRepeat,
    PartOfSpeech,
    Similarity,
    StopWords,
    WordCosine,
    WordDistance,
    WordEdits,
)
from robustlab.text.constraints.edits import distance, within

TEXT = cut("The film is good, so it is.")


def change(after: Words, position: int, before: Words = TEXT, original: Words = TEXT) -> Change:
    return Change(original, before, after, position)


def test_stop_words_are_compared_with_their_case() -> None:
    rule = StopWords(frozenset({"the", "is", "so", "it"}))
    assert list(rule.positions(TEXT, TEXT)) == [True, True, False, True, False, False, False]
    assert list(rule.positions(TEXT, TEXT.replaced(1, "so"))) == [True, False, False, True, False, False, False]
    assert list(rule.positions(cut(""), cut(""))) == []


def test_words_are_changed_once() -> None:
    rule = NoRepeat()
    after = TEXT.replaced(1, "movie").deleted(0).inserted(2, "very")
    assert after.text == "movie is very good, so it is."
    assert list(rule.positions(TEXT, after)) == [False, True, False, True, True, True, True]


def test_short_words_stay() -> None:
    assert list(MinLength(4).positions(TEXT, TEXT)) == [False, True, False, True, False, False, False]


@pytest.mark.parametrize(
    ("rule", "limit"),
    [
        (MostChanged(2), 2), (MostChanged(share=0.2), 2), (MostChanged(share=0.1, least=4), 4),
        (MostChanged(1, share=0.9), 1), (MostChanged(0), 0), (MostChanged(share=1.0), 7),
    ],
)  # fmt: skip
def test_only_some_words_are_changed(rule: MostChanged, limit: int) -> None:
    words, changed = TEXT, 0
    for position in range(len(TEXT.words)):
        allowed = list(rule.positions(TEXT, words))
        assert allowed == [changed < limit or at < changed for at in range(len(TEXT.words))]
        words, changed = words.replaced(position, "x"), changed + 1
        assert list(rule.keeps([change(words, position)])) == [changed <= limit]


def test_a_share_of_words_is_exact() -> None:
    assert MostChanged(share=0.2).limit(cut("a " * 15)) == 3
    for count in range(1, 200):
        words = cut("a " * count)
        assert [MostChanged(share=n / 100).limit(words) for n in range(101)] == [
            -(-n * count // 100) for n in range(101)
        ]


def test_inserted_and_deleted_words_count() -> None:
    after = TEXT.inserted(3, "very").deleted(0)
    assert list(MostChanged(1).keeps([change(after, 0)])) == [False]
    assert list(MostChanged(2).keeps([change(after, 0)])) == [True]


@pytest.mark.parametrize("wrong", [{}, {"number": -1}, {"share": 1.5}, {"share": -0.1}])
def test_a_limit_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"largest|share in 0"):
        MostChanged(**wrong)  # type: ignore[arg-type]


def slow_distance(one: str, other: str) -> int:
    """The edit distance by its recursion."""

    @cache
    def found(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(found(i - 1, j) + 1, found(i, j - 1) + 1, found(i - 1, j - 1) + (one[i - 1] != other[j - 1]))

    return found(len(one), len(other))


def test_edit_distances_are_exact_up_to_the_bound() -> None:
    draw = random.Random(0)
    for _ in range(300):
        one, other = ("".join(draw.choices("ab é", k=draw.randrange(12))) for _ in range(2))
        exact = slow_distance(one, other)
        for most in (0, 1, 3, 20):
            for measure in (within, distance):
                got = measure(one, other, most)
                assert got == exact if exact <= most else got > most


def test_texts_stay_within_an_edit_distance() -> None:
    draw = random.Random(1)
    for _ in range(150):
        words = TEXT
        for _ in range(draw.randrange(1, 6)):
            at = draw.randrange(len(words.words)) if words.words else 0
            what = draw.choice("rrrdi")
            new = "".join(draw.choices("fgilmod", k=draw.randrange(1, 6)))
            words = words.inserted(at, new) if what == "i" or not words.words else (
                words.deleted(at) if what == "d" else words.replaced(at, new)
            )  # fmt: skip
        exact = slow_distance(TEXT.text, words.text)
        kept = [EditDistance(most).keeps([change(words, 0)])[0] for most in range(31)]
        assert kept == [exact <= most for most in range(31)]
    assert WordEdits(1).allows("film", "films")
    assert not WordEdits(1).allows("film", "flim")


class Plane:
    """Words as points of a plane."""

    points: ClassVar[dict[str, tuple[float, float]]] = {"good": (1, 0), "fine": (1, 1), "bad": (-1, 0), "is": (0, 2)}

    def vector(self, word: str) -> NDArray[np.float32] | None:
        found = self.points.get(word.lower())
        return None if found is None else np.array(found, dtype=np.float32)

    def cosine(self, one: str, other: str) -> float | None:
        a, b = self.vector(one), self.vector(other)
        return None if a is None or b is None else float(a @ b / math.sqrt(float(a @ a) * float(b @ b)))

    def distance(self, one: str, other: str) -> float | None:
        a, b = self.vector(one), self.vector(other)
        return None if a is None or b is None else float(((a - b) ** 2).sum())


def test_words_are_close_by_their_vectors() -> None:
    assert WordCosine(Plane(), 0.7).allows("good", "Fine")
    assert not WordCosine(Plane(), 0.71).allows("good", "fine")
    assert WordDistance(Plane(), 1.0).allows("good", "fine")
    assert not WordDistance(Plane(), 0.9).allows("good", "fine")
    assert WordDistance(Plane(), 0.6, unit=True).allows("good", "fine")  # 2 - sqrt 2
    assert not WordDistance(Plane(), 0.58, unit=True).allows("good", "fine")
    assert WordCosine(Plane(), 0.9).allows("good", "unheard")
    assert not WordCosine(Plane(), 0.9, unknown=False).allows("good", "unheard")
    assert not WordDistance(Plane(), 0.9, unknown=False).allows("unheard", "good")


def test_words_are_compared_with_those_before() -> None:
    step = TEXT.replaced(3, "fine")
    far = step.replaced(3, "is")
    rule = AgainstBefore(WordDistance(Plane(), 2.0))
    assert list(rule.keeps([change(far, 3, before=step), change(far, 3), change(step.deleted(3), 3, before=step)])) == [
        True, False, True,
    ]  # fmt: skip
    assert not WordDistance(Plane(), 2.0).allows("good", "is")


def test_the_mean_of_vectors_stays_near() -> None:
    # "is good is" -> "is fine is": the mean of unit vectors moves by (1 - s, -s) / 3, s = 1 / sqrt 2
    s = math.sqrt(1 / 2)
    moved = ((1 - s) ** 2 + s**2) / 9
    after = TEXT.replaced(3, "fine")
    assert list(MeanVector(Plane(), moved + 1e-9).keeps([change(after, 3)])) == [True]
    assert list(MeanVector(Plane(), moved - 1e-9).keeps([change(after, 3)])) == [False]
    assert list(MeanVector(Plane(), 0.0).keeps([change(cut("x"), 0, cut("y"), cut("y"))])) == [True]


def test_opinion_words_keep_their_sign() -> None:
    class Signs:
        def turned(self, old: str, new: str) -> bool:
            return {old, new} == {"good", "bad"}

    assert not KeepOpinion(Signs()).allows("good", "bad")
    assert KeepOpinion(Signs()).allows("good", "film")


class Letters:
    """Encodes texts as counts of letters, and notes what it was asked."""

    def __init__(self) -> None:
        self.requested: list[str] = []

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        self.requested += texts
        return np.array([[text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts])


def _cosine(one: str, other: str) -> float:
    a, b = Letters()([one, other])
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_similarity_is_that_of_the_texts() -> None:
    encode = Letters()
    first, second = TEXT.replaced(3, "great"), TEXT.replaced(1, "movie")
    rule = Similarity(encode, 0.9)
    expected = [_cosine(TEXT.text, one.text) for one in (first, second)]
    changes = [change(first, 3), change(second, 1)]
    assert rule.similarity(changes) == pytest.approx(expected, abs=1e-6)
    assert list(rule.judge(changes)) == [one >= 0.9 for one in expected]
    assert sorted(encode.requested) == sorted([TEXT.text, first.text, second.text])
    angular = Similarity(encode, 0.9, metric="angular").similarity(changes)
    assert angular == pytest.approx([1 - math.acos(one) / math.pi for one in expected], abs=1e-6)


def test_similarity_against_the_text_before() -> None:
    before = TEXT.replaced(1, "zzz")
    after = before.replaced(3, "great")
    rule = Similarity(Letters(), 0.5, against="before")
    assert rule.similarity([change(after, 3, before=before)]) == pytest.approx(
        [_cosine(before.text, after.text)], abs=1e-6
    )


def test_similarity_of_the_words_around() -> None:
    text = cut(" ".join(f"{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"))
    encode = Letters()
    rule = Similarity(encode, 0.5, window=5, short_passes=True)
    rule.similarity([change(text.replaced(10, "zoo"), 10, text, text)])
    assert encode.requested == ["i j k l m", "i j zoo l m"]
    # words after a deleted one: the original is read around the place where they were
    encode.requested.clear()
    after = text.deleted(2)
    rule.similarity([change(after.replaced(12, "zoo"), 12, after, text), change(text.deleted(25), 25, text, text)])
    assert encode.requested == ["l m n o p", "l m zoo o p", "v w x y z", "u v w x y"]
    encode.requested.clear()
    after = text.inserted(5, "new")
    rule.similarity([change(after, 5, text, text), change(after.replaced(15, "zoo"), 15, after, text)])
    assert encode.requested == ["d e f g h", "d e new f g", "m n o p q", "m n zoo p q"]
    assert list(rule.judge([change(cut("a b c d"), 0, cut("x y z w"), cut("x y z w"))])) == [True]


def test_memory_for_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustlab.text.constraints.models._REMEMBERED", 10)
    rule = Similarity(Letters(), 0.5)
    texts = [TEXT.replaced(1, "x" * n) for n in range(1, 40)]
    assert len(rule.similarity([change(one, 1) for one in texts])) == 39
    assert len(rule._vectors) <= 10
    assert rule.similarity([]) == []


def test_parts_of_speech_are_those_in_the_original_context() -> None:
    asked: list[list[str]] = []

    def tag(texts: Sequence[Sequence[str]]) -> list[list[str]]:
        asked.extend(list(one) for one in texts)
        tags = {"film": "NOUN", "watch": "VERB", "good": "ADJ", "nice": "ADJ"}
        return [[tags.get(word, "X") for word in one] for one in texts]

    before = TEXT.replaced(0, "A")
    changes = [
        change(before.replaced(1, "watch"), 1, before), change(before.replaced(3, "nice"), 3, before),
        change(before.replaced(3, "film"), 3, before), change(before.deleted(3), 3, before),
        change(before.inserted(7, "film"), 7, before),
    ]  # fmt: skip
    assert list(PartOfSpeech(tag).judge(changes)) == [True, True, False, True, True]
    assert asked[:2] == [["The", "film", "is", "good", "so"], ["The", "watch", "is", "good", "so"]]
    assert list(PartOfSpeech(tag, noun_verb=False).judge(changes)) == [False, True, False, True, True]
    rule = PartOfSpeech(tag)
    rule.judge(changes)
    count = len(asked)
    rule.judge(changes)
    assert len(asked) == count


def test_texts_stay_likely() -> None:
    rule = Likelihood(lambda texts: [-float(len(text)) for text in texts], most=2.0)
    assert list(rule.judge([change(TEXT.replaced(1, "movie"), 1), change(TEXT.replaced(1, "picture"), 1)])) == [
        True, False,
    ]  # fmt: skip
