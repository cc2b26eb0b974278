"""Greedy search and driver on victims whose best attack can be written down."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from robustlab.core.types import Text
from robustlab.models import WordCNN
from robustlab.models.word_cnn import SPECIAL
from robustlab.text import (
    AttackSettings,
    Change,
    Driver,
    Greedy,
    KeepPrediction,
    Targeted,
    TextOutcome,
    TextRecipe,
    Untargeted,
    Victim,
    Words,
    attack,
)
from robustlab.text import victim as text_victim

WEIGHTS = {"good": 2.0, "great": 3.0, "fine": 0.5, "bad": -2.0, "awful": -3.0, "so": 0.25}
CALLS: list[list[Text]] = []


def linear(texts: Sequence[Text]) -> np.ndarray:
    """A sum of weights of words, as two probabilities."""
    CALLS.append(list(texts))
    sums = [sum(WEIGHTS.get(word, 0.0) for word in " ".join([*_fields(text)]).lower().split()) for text in texts]
    positive = np.array([1 / (1 + math.exp(-one)) for one in sums])
    return np.stack([1 - positive, positive], axis=1)


def _fields(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text


VICTIM = Victim(linear, 2, "linear", "linear")


@dataclass(frozen=True)
class Table:
    """Options by a table."""

    table: tuple[tuple[str, tuple[str, ...]], ...]
    name: str = "table"

    def options(self, word: str) -> Sequence[str]:
        return dict(self.table).get(word, ())


@dataclass(frozen=True)
class Once:
    """Each word is changed once."""

    name: str = "once"

    def positions(self, original: Words, words: Words) -> Sequence[bool]:
        del original
        done = {at for at, _ in words.edits}
        return [at not in done for at in words.origin]


OPTIONS = (("good", ("fine", "ok")), ("great", ("good", "fine")), ("so", ("very",)), ("film", ("movie",)))
RECIPE = TextRecipe("toy", Untargeted(), (Table(OPTIONS),), (Once(),), Greedy())


def found(text: Text, label: int = 1, recipe: TextRecipe = RECIPE, **settings: object) -> TextOutcome:
    return attack(VICTIM, [text], [label], recipe, settings=AttackSettings(**settings))[0]  # type: ignore[arg-type]


def test_the_best_option_of_the_most_important_word_comes_first() -> None:
    # weights 3 + 2 - 2: "great" matters most; "fine" (0.5) beats "good" (2); then "good" -> "ok" (0)
    outcome = found("A great and good bad film")
    assert outcome.edits == ((1, "fine"), (3, "ok"))
    assert outcome.adversarial == "A fine and ok bad film"
    assert (outcome.status, outcome.before, outcome.prediction) == ("successful", 1, 0)
    assert outcome.score == pytest.approx(1 / (1 + math.exp(-1.5)))
    # the clean text, 6 words left out, 2 options, 2 options
    assert (outcome.requested, outcome.changed, outcome.words) == (1 + 6 + 2 + 2, 2, 6)


def test_a_search_that_finds_nothing_ends_with_what_helped() -> None:
    outcome = found("A great great film")
    assert (outcome.status, outcome.prediction) == ("failed", 1)
    assert outcome.adversarial == "A fine fine film"


def test_wrong_texts_are_skipped_after_one_query() -> None:
    outcome = found("A bad film")
    assert (outcome.status, outcome.requested, outcome.sent, outcome.adversarial) == ("skipped", 1, 1, "A bad film")


@pytest.mark.parametrize("text", ["", "...", "😀", "the"])
def test_texts_with_nothing_to_change_fail(text: str) -> None:
    outcome = found(text, label=0)  # sigmoid(0) = 1/2: the first class
    assert (outcome.status, outcome.adversarial, outcome.changed) == ("failed", text, 0)


@pytest.mark.parametrize("ranking", ["delete", "unk", "pwws", "random"])
def test_every_ranking_reaches_the_goal(ranking: str) -> None:
    outcome = found("A great and good bad film", recipe=replace(RECIPE, search=Greedy(ranking)))  # type: ignore[arg-type]
    assert outcome.status == "successful"


def test_pwws_weighs_the_gain_of_a_word_by_its_saliency() -> None:
    # "so" matters less than "good", but "good" can become "awful", and "so" only a word without weight
    text, table = "so good", (("so", ("very",)), ("good", ("awful",)))
    recipe = replace(RECIPE, transformations=(Table(table),), search=Greedy("pwws"))
    saliency = np.array([_wrong(2.0), _wrong(0.25)])
    weights = np.exp(saliency) / np.exp(saliency).sum()
    gains = np.array([_wrong(2.0), _wrong(0.25 - 3)])
    first = int(np.argmax(weights * gains))
    assert found(text, recipe=recipe).edits[0][0] == first == 1


def _wrong(total: float) -> float:
    return 1 - 1 / (1 + math.exp(-total))


def test_a_target_is_reached_or_skipped() -> None:
    recipe = replace(RECIPE, goal=Targeted())
    outcomes = attack(VICTIM, ["A great and good bad film"] * 2, [1, 1], recipe, target=[0, 1])
    assert [one.status for one in outcomes] == ["successful", "skipped"]
    assert [one.target for one in outcomes] == [0, 1]
    with pytest.raises(ValueError, match="give target="):
        attack(VICTIM, ["good"], [1], recipe)


def test_words_beside_the_prediction_can_be_taken_away() -> None:
    @dataclass(frozen=True)
    class Delete:
        name: str = "delete"

        def rewrites(self, words: Words, position: int) -> Sequence[Words]:
            return [words.deleted(position)] if len(words.words) > 1 else []

    recipe = TextRecipe("reduce", KeepPrediction(), (Delete(),), (), Greedy())
    outcome = found("A good film so bad as awful great", recipe=recipe)
    assert outcome.status == "successful"
    assert outcome.prediction == 1
    assert len(outcome.adversarial.split()) < 8  # type: ignore[union-attr]


def test_one_field_of_several_is_attacked() -> None:
    recipe = replace(RECIPE, transformations=(Table((("great", ("fine",)),)),))
    outcome = found(("great", "bad great"), recipe=recipe, field=1)
    assert outcome.adversarial == ("great", "bad fine")
    with pytest.raises(ValueError, match=r"field must be in 0\.\.0, got 1"):
        found("good", field=1)


@pytest.mark.parametrize("budget", range(1, 12))
def test_a_query_budget_is_never_passed(budget: int) -> None:
    whole = found("A great and good bad film")
    outcome = found("A great and good bad film", queries=budget)
    assert outcome.requested == min(budget, whole.requested)
    assert (outcome.status == "successful") == (budget >= 10)  # the first option of the second word is enough


def test_outcomes_do_not_depend_on_the_company() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices([*WEIGHTS, "film", "a"], k=rng.randrange(12))) for _ in range(60)]
    labels = [int(row.argmax()) for row in linear(texts)]
    recipe = replace(RECIPE, search=Greedy("random"))
    whole = attack(VICTIM, texts, labels, recipe, settings=AttackSettings(seed=3))
    order = rng.sample(range(60), 60)
    driver = Driver(VICTIM, batch_tokens=7, together=5, memory=3000)
    other = attack(
        VICTIM, [texts[n] for n in order], [labels[n] for n in order], recipe, ids=order,
        settings=AttackSettings(seed=3, driver=driver),
    )  # fmt: skip
    assert sorted(other, key=lambda one: one.id) == whole
    assert len({one.edits for one in whole}) > 10


def test_a_text_is_scored_once() -> None:
    driver = Driver(VICTIM)
    CALLS.clear()
    texts = ["A great and good bad film", "A great and good bad film", "so good"]
    outcomes = attack(VICTIM, texts, [1, 1, 1], RECIPE, settings=AttackSettings(driver=driver))
    seen = [text for call in CALLS for text in call]
    assert len(seen) == len(set(seen)) == driver.scored
    assert outcomes[0].sent == outcomes[1].sent <= outcomes[0].requested
    attack(VICTIM, texts, [1, 1, 1], RECIPE, settings=AttackSettings(driver=driver))
    assert driver.scored == len(seen)


def test_batches_hold_texts_of_similar_length() -> None:
    CALLS.clear()
    Driver(VICTIM, batch_tokens=8).rows(["a" * length for length in (50, 3, 4, 30, 3, 200)])
    assert [[len(text) for text in call] for call in CALLS] == [[3, 4], [30], [50], [200]]


def test_costly_constraints_are_asked_for_the_best_candidate_first() -> None:
    judged: list[str] = []

    @dataclass(frozen=True)
    class NoFine:
        name: str = "no fine"

        def judge(self, changes: Sequence[Change]) -> Sequence[bool]:
            judged.extend(change.after.text for change in changes)
            return ["fine" not in change.after.text for change in changes]

    lazy = replace(RECIPE, constraints=(Once(), NoFine()))
    outcome = found("great bad", recipe=lazy)
    assert outcome.adversarial == "good bad"  # as good as before: the model says 0 for 2 - 2
    assert judged == ["fine bad", "good bad"]
    judged.clear()
    eager = found("great bad", recipe=replace(lazy, lazy=False))
    assert eager.adversarial == outcome.adversarial
    assert eager.requested < outcome.requested


BAD = {
    "None": ([None], [1], "text 0 is"),
    "bytes": ([b"good"], [1], "text 0 is"),
    "number": (["good", 3], [1, 1], "text 1 is"),
    "one text": ("good", [1, 1, 1, 1], "put it in a list"),
    "labels": (["good"], [1, 0], "labels must have one entry for each of the 1 texts, got 2"),
    "class": (["good"], [2], r"label 0 must be a class of linear, a whole number in 0\.\.1, got 2"),
    "name": (["good"], ["positive"], "label 0 must be a class"),
    "empty tuple": ([()], [1], "text 0 is"),
}


@pytest.mark.parametrize(("texts", "labels", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_no_text_or_class_gets_a_sentence(texts: object, labels: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        attack(VICTIM, texts, labels, RECIPE)  # type: ignore[arg-type]


def test_a_thing_that_is_no_transformation_gets_a_sentence() -> None:
    with pytest.raises(ValueError, match="needs options, draws, rewrites, proposals or swaps"):
        found("good", recipe=replace(RECIPE, transformations=(object(),)))  # type: ignore[arg-type]


@pytest.mark.parametrize("queries", [0, -1])
def test_budgets_below_the_clean_text_are_refused(queries: int) -> None:
    with pytest.raises(ValueError, match="queries must be at least 1"):
        AttackSettings(queries=queries)


@pytest.mark.slow
@pytest.mark.parametrize("ranking", ["delete", "unk", "gradient", "random"])
def test_a_very_long_text_does_not_fill_the_memory(ranking: str) -> None:
    text = " ".join(["film"] * 3000 + ["great", "good"])
    recipe = replace(RECIPE, search=Greedy(ranking))  # type: ignore[arg-type]
    victim = replace(VICTIM, gradients=Steep())
    tracemalloc.start()
    (outcome,) = attack(victim, [text], [1], recipe, settings=AttackSettings(queries=100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome.requested <= 100
    assert peak < 60 << 20  # all 3,002 texts with their words take more than 200 MB


class Steep:
    """The same gradient at every word."""

    table = None

    def __call__(self, items: Sequence[tuple[Words, Text, int]]) -> list[np.ndarray]:
        return [np.ones((len(words.words), 1)) for words, _, _ in items]


@pytest.mark.parametrize("kept", [1, 5, 40])
def test_a_network_gives_the_same_bits_in_any_company(kept: int) -> None:
    rng = random.Random(kept)
    words = [f"w{number}" for number in range(50)]
    torch.manual_seed(0)
    network = text_victim(WordCNN([*SPECIAL, *words]))
    texts = [" ".join(rng.choices(words, k=rng.randrange(1, 70))) for _ in range(150)]
    whole = Driver(network).rows(texts)
    for _ in range(10):
        some = rng.sample(range(150), kept)
        assert (Driver(network).rows([texts[one] for one in some]) == whole[some]).all()


def test_batches_of_a_network_have_one_shape() -> None:
    shapes: list[tuple[int, set[int]]] = []

    def predict(texts: Sequence[Text]) -> np.ndarray:
        shapes.append((len(texts), {len(str(text).split()) for text in texts}))
        return np.full((len(texts), 2), 0.5)

    network = Victim(
        predict, 2, "network", "network", lengths=lambda texts: [len(str(one).split()) for one in texts], decimals=6
    )
    rng = random.Random(0)
    rows = Driver(network).rows([" ".join(rng.choices(["a", "b", "c"], k=rng.randrange(1, 5))) for _ in range(100)])
    assert len(rows) == 100
    assert {(count, len(lengths)) for count, lengths in shapes} == {(16, 1)}
