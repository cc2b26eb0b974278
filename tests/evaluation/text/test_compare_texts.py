"""Paired comparisons of victims and of searches on the same texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from text_toys import FREE, GREEDY, RANDOM, VICTIM, WEIGHTS, sentences  # type: ignore[import-not-found]

from robustlab.evaluation import (
    TextEvaluation,
    TextSettings,
    compare_searches,
    compare_texts,
    evaluate_text,
    text_outcomes_of,
)
from robustlab.statistics import mcnemar, paired_difference
from robustlab.text import TextRecipe, Victim
from robustlab.text.victims.kinds import Rows

SETTINGS = TextSettings(meaning=None, command="test")


def _doubled(texts: list[str]) -> Rows:
    """Probabilities by other weights: good words count double."""
    scores = np.array([sum(max(WEIGHTS.get(w, 0), 2 * WEIGHTS.get(w, 0)) for w in text.split()) for text in texts])
    positive = 1 / (1 + np.exp(-scores))
    return np.stack([1 - positive, positive], axis=1)


OTHER = Victim(_doubled, 2, "doubled", "function:doubled")  # type: ignore[arg-type]


def run(victim: Victim, *recipes: TextRecipe, settings: TextSettings = SETTINGS, seed: int = 0) -> TextEvaluation:
    return evaluate_text(victim, sentences(80, seed), recipes=recipes, settings=settings)


def right(evaluation: TextEvaluation, recipe: str) -> np.ndarray:
    rows = [one for one in text_outcomes_of(evaluation.directory or "") if one.recipe == recipe]
    return np.array([one.label == one.before == one.prediction for one in rows])


def test_two_victims_are_compared_text_by_text() -> None:
    a, b = run(VICTIM, GREEDY, FREE), run(OTHER, FREE, GREEDY, RANDOM)
    clean, greedy, free = compare_texts(a, b)
    assert [one.measured for one in (clean, greedy, free)] == ["clean", "greedy", "free"]
    for one in (greedy, free):
        mine, theirs = right(a, one.measured), right(b, one.measured)
        only = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
        assert (one.only_a, one.only_b, one.n) == (*only, 80)
        assert one.difference == paired_difference(*only, 80)[0]
        assert one.p_value == mcnemar(*only)
        assert one.corrected >= one.p_value
    assert clean.both + clean.only_a == a.clean.accuracy.count
    assert (greedy.a, greedy.b) == ("sums", "doubled")


def test_recipes_of_one_name_that_differ_are_not_compared() -> None:
    a = run(VICTIM, GREEDY)
    with pytest.raises(ValueError, match="no recipe is the same in both: greedy differs in constraints"):
        compare_texts(a, run(OTHER, replace(FREE, name="greedy")))
    with pytest.raises(ValueError, match="greedy differs in queries"):
        compare_texts(a, run(OTHER, GREEDY, settings=replace(SETTINGS, queries=5)))
    with pytest.raises(ValueError, match="greedy differs in resources"):
        compare_texts(a, run(OTHER, GREEDY, settings=replace(SETTINGS, resources={"glove": "2"})))
    with pytest.raises(ValueError, match="greedy is not in both"):
        compare_texts(a, run(OTHER, RANDOM))
    both = compare_texts(run(VICTIM, GREEDY, FREE), run(OTHER, GREEDY, replace(FREE, constraints=GREEDY.constraints)))
    assert [one.measured for one in both] == ["clean", "greedy"]


def test_other_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="the texts differ"):
        compare_texts(run(VICTIM, GREEDY), run(OTHER, GREEDY, seed=1))


def test_searches_are_compared_under_equal_constraints_in_one_run_or_several() -> None:
    whole = run(VICTIM, GREEDY, FREE, RANDOM)
    (pair,) = compare_searches([whole])
    assert (pair.a, pair.b, pair.measured, pair.kind) == ("greedy", "random", "sums", "searches")
    apart = compare_searches([run(VICTIM, GREEDY), run(VICTIM, RANDOM)])
    assert replace(apart[0]) == pair
    assert pair.requested == (whole.results[0].queries.requested.mean, whole.results[2].queries.requested.mean)
    with pytest.raises(ValueError, match="differ in the search alone; they differ in constraints"):
        compare_searches([run(VICTIM, GREEDY, FREE)])
    with pytest.raises(ValueError, match="differ in the search alone"):
        compare_searches([run(VICTIM, GREEDY), run(OTHER, RANDOM)])
