"""Beam, genetic and swarm search on a victim whose best attack is found by trying everything."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from robustlab.core.types import Text
from robustlab.text import (
    AttackSettings,
    Beam,
    Change,
    Driver,
    Genetic,
    Greedy,
    GreedyCoordinate,
    Swarm,
    TextRecipe,
    Untargeted,
    Victim,
    Words,
    WordTable,
    attack,
    cut,
)

WORDS = [f"w{number}" for number in range(30)]
_RNG = np.random.default_rng(0)
WEIGHTS: dict[str, float] = dict(zip(WORDS, _RNG.normal(size=30).tolist(), strict=True))
PAIRS = {pair: float(_RNG.normal()) for pair in itertools.pairwise(WORDS)}


def total(text: str) -> float:
    """Log odds: a sum over words, and over some neighbours, so that greedy choices are not always the best."""
    words = text.split()
    return sum(WEIGHTS[word] for word in words) + 2 * sum(PAIRS.get(pair, 0.0) for pair in itertools.pairwise(words))


def probabilities(texts: Sequence[Text]) -> np.ndarray:
    positive = np.array([1 / (1 + math.exp(-total(str(text)))) for text in texts])
    return np.stack([1 - positive, positive], axis=1)


VICTIM = Victim(probabilities, 2, "pairs", "pairs")


@dataclass(frozen=True)
class Near:
    """The two words beside a word in the list."""

    name: str = "near"

    def options(self, word: str) -> Sequence[str]:
        at = WORDS.index(word)
        return [WORDS[(at + step) % 30] for step in (1, 2)]


@dataclass(frozen=True)
class Once:
    name: str = "once"

    def positions(self, original: Words, words: Words) -> Sequence[bool]:
        del original
        done = {at for at, _ in words.edits}
        return [at not in done for at in words.origin]


@dataclass(frozen=True)
class AtMost:
    """At most some words are changed."""

    most: int
    name: str = "at most"

    def keeps(self, changes: Sequence[Change]) -> Sequence[bool]:
        return [change.after.changed <= self.most for change in changes]


def recipe(search: object, *constraints: object) -> TextRecipe:
    return TextRecipe("toy", Untargeted(), (Near(),), (Once(), *constraints), search)  # type: ignore[arg-type]


def sentences(count: int, length: int, seed: int) -> tuple[list[str], list[int]]:
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(WORDS, k=length)) for _ in range(count)]
    return texts, [int(row.argmax()) for row in probabilities(texts)]


def best_score(text: str, label: int, most: int) -> float:
    """The largest 1 - p(label) of all texts with at most some words changed."""
    choices = [[word, *Near().options(word)] for word in text.split()]
    texts = [" ".join(words) for words in itertools.product(*choices)]
    few = [one for one in texts if sum(a != b for a, b in zip(one.split(), text.split(), strict=True)) <= most]
    return float((1 - probabilities(few)[:, label]).max())


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_wide_beam_finds_what_trying_everything_finds(most: int) -> None:
    texts, labels = sentences(40, 5, 1)
    outcomes = attack(VICTIM, texts, labels, recipe(Beam(10_000), AtMost(most)))
    for text, label, outcome in zip(texts, labels, outcomes, strict=True):
        best = best_score(text, label, most)
        assert (outcome.status == "successful") == (best > 0.5)
        if outcome.status == "failed":
            assert outcome.score == pytest.approx(best)
        assert outcome.changed <= most


SEARCHES = {
    "beam": Beam(3),
    "genetic": Genetic(12, 8),
    "one point": Genetic(12, 8, crossover="point", changes=2),
    "swarm": Swarm(12, 8),
    "coordinate": GreedyCoordinate(10, 8),
}


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES.keys())
def test_texts_keep_the_constraints_and_say_what_was_changed(search: object) -> None:
    texts, labels = sentences(30, 7, 2)
    outcomes = attack(VICTIM, texts, labels, recipe(search, AtMost(2)))
    for text, outcome in zip(texts, outcomes, strict=True):
        after = str(outcome.adversarial).split()
        changed = {at: new for at, (old, new) in enumerate(zip(text.split(), after, strict=True)) if old != new}
        assert dict(outcome.edits) == changed
        assert outcome.changed == len(changed) <= 2
        assert all(new in Near().options(text.split()[at]) for at, new in changed.items())
        assert outcome.prediction == int(probabilities([outcome.adversarial]).argmax())
        assert (outcome.status == "successful") == (outcome.prediction != outcome.label)


@pytest.mark.parametrize("name", ["genetic", "one point", "swarm"])
def test_populations_come_near_the_best(name: str) -> None:
    texts, labels = sentences(60, 6, 3)
    possible = [best_score(text, label, 2) > 0.5 for text, label in zip(texts, labels, strict=True)]
    outcomes = attack(VICTIM, texts, labels, recipe(SEARCHES[name], AtMost(2)))
    found = [one.status == "successful" for one in outcomes]
    assert not any(one and not can for one, can in zip(found, possible, strict=True))
    assert sum(found) >= 0.9 * sum(possible)
    assert 0 < sum(possible) < 60


@pytest.mark.parametrize("name", ["genetic", "one point", "swarm", "coordinate"])
def test_draws_depend_on_seed_and_id_alone(name: str) -> None:
    texts, labels = sentences(12, 7, 4)
    once = recipe(SEARCHES[name], AtMost(2))
    whole = attack(VICTIM, texts, labels, once, settings=AttackSettings(seed=1))
    driver = Driver(VICTIM, batch_tokens=10, together=2, memory=2000)
    for number in (11, 3):
        alone = attack(
            VICTIM, texts[number : number + 1], labels[number : number + 1], once, ids=[number],
            settings=AttackSettings(seed=1, driver=driver),
        )  # fmt: skip
        assert alone == [whole[number]]
    other = attack(VICTIM, texts, labels, once, settings=AttackSettings(seed=2))
    assert other != whole


@pytest.mark.parametrize("search", [*SEARCHES.values(), Greedy()], ids=[*SEARCHES.keys(), "greedy"])
@pytest.mark.parametrize("queries", [1, 7, 40])
def test_no_search_passes_its_budget(search: object, queries: int) -> None:
    texts, labels = sentences(10, 7, 5)
    outcomes = attack(VICTIM, texts, labels, recipe(search), settings=AttackSettings(queries=queries))
    assert all(one.requested <= queries for one in outcomes)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES.keys())
@pytest.mark.parametrize("text", ["w1", "...", ""])
def test_short_texts_end(search: object, text: str) -> None:
    victim = replace(VICTIM, predict=lambda texts: np.tile([0.2, 0.8], (len(texts), 1)))
    (outcome,) = attack(victim, [text], [1], recipe(search))
    assert (outcome.status, outcome.prediction) == ("failed", 1)


def test_lazy_beams_keep_what_the_costly_constraint_allows() -> None:
    @dataclass(frozen=True)
    class Never:
        word: str
        name: str = "never"

        def judge(self, changes: Sequence[Change]) -> Sequence[bool]:
            return [self.word not in change.after.words for change in changes]

    texts, labels = sentences(30, 5, 6)
    lazy = recipe(Beam(4), Never("w3"))
    outcomes = attack(VICTIM, texts, labels, lazy)
    eager = attack(VICTIM, texts, labels, replace(lazy, lazy=False))
    assert [one.adversarial for one in outcomes] == [one.adversarial for one in eager]
    assert sum(one.requested for one in outcomes) > sum(one.requested for one in eager)


class Linear:
    """Gradients of a sum of embeddings of one dimension."""

    table = WordTable(tuple(WORDS), np.array([[WEIGHTS[word]] for word in WORDS]))

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, items: Sequence[tuple[Words, Text, int]]) -> list[np.ndarray]:
        self.calls += len(items)
        return [np.full((len(words.words), 1), 1.0 - 2 * label) for words, _, label in items]


@dataclass(frozen=True)
class Flip:
    """The one swap that the gradient likes best."""

    name: str = "flip"

    def swaps(self, words: Words, positions: Sequence[int], gradient: np.ndarray, table: WordTable) -> Sequence[Words]:
        now = [table.words.index(word) for word in words.words]
        gains = gradient @ table.vectors.T - (gradient * table.vectors[now]).sum(1, keepdims=True)
        place = max(positions, key=lambda at: gains[at].max())
        return [words.replaced(place, table.words[int(gains[place].argmax())])]


def test_a_sample_of_everything_takes_the_best_change() -> None:
    texts, labels = sentences(20, 5, 8)
    whole = replace(recipe(GreedyCoordinate(1, 1000)), constraints=())
    for text, outcome in zip(texts, attack(VICTIM, texts, labels, whole), strict=True):
        single = [
            cut(text).replaced(at, new).text for at, word in enumerate(text.split()) for new in Near().options(word)
        ]
        best = max(single, key=lambda one: (1 - probabilities([one])[0, outcome.label], one))
        if outcome.changed:
            assert outcome.adversarial == best
        else:
            assert 1 - probabilities([best])[0, outcome.label] <= outcome.score


def test_a_swap_by_the_gradient_costs_one_query_and_one_gradient() -> None:
    def plain(texts: Sequence[Text]) -> np.ndarray:
        positive = [1 / (1 + math.exp(-sum(WEIGHTS[word] for word in str(text).split()))) for text in texts]
        return np.array([[1 - one, one] for one in positive])

    gradients = Linear()
    victim = replace(VICTIM, predict=plain, gradients=gradients)
    text = "w1 w2 w3 w4"
    label = int(plain([text]).argmax())
    flip = replace(recipe(Beam(2)), transformations=(Flip(),))
    (outcome,) = attack(victim, [text], [label], flip)
    assert outcome.status == "successful"
    assert outcome.requested == 1 + outcome.changed
    assert outcome.gradients == gradients.calls == outcome.changed
    worst = WORDS[int(np.argmin([(2 * label - 1) * WEIGHTS[word] for word in WORDS]))]
    assert set(dict(outcome.edits).values()) == {worst}


def test_missing_gradients_and_tables_get_a_sentence() -> None:
    flip = replace(recipe(Beam(2)), transformations=(Flip(),))
    with pytest.raises(ValueError, match="pairs gives no gradients of words: choose a recipe or a ranking without"):
        attack(VICTIM, ["w1 w2"], [int(total("w1 w2") > 0)], flip)
    gradients = Linear()
    gradients.table = None  # type: ignore[assignment]
    with pytest.raises(ValueError, match="flip needs a victim with word embeddings, and pairs has none"):
        attack(replace(VICTIM, gradients=gradients), ["w1 w2"], [int(total("w1 w2") > 0)], flip)


def test_populations_refuse_transformations_that_delete_words() -> None:
    @dataclass(frozen=True)
    class Delete:
        name: str = "delete"

        def rewrites(self, words: Words, position: int) -> Sequence[Words]:
            return [words.deleted(position)]

    texts, labels = sentences(6, 7, 7)
    with pytest.raises(ValueError, match="replaced one by one"):
        attack(VICTIM, texts, labels, replace(recipe(Genetic(8, 4)), transformations=(Delete(),)))


@pytest.mark.parametrize(
    "made",
    [
        lambda: Beam(0),
        lambda: Genetic(1),
        lambda: Genetic(temperature=0),
        lambda: Swarm(iterations=0),
        lambda: GreedyCoordinate(0),
    ],
)
def test_numbers_that_make_no_sense_are_refused(made: object) -> None:
    with pytest.raises(ValueError, match="needs"):
        made()  # type: ignore[operator]


def test_rewriting_several_words_is_rewriting_them_one_by_one() -> None:
    text = cut("a b c")
    assert text.rewritten({2: "z", 0: "x"}) == text.replaced(0, "x").replaced(2, "z")
