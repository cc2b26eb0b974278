from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from robustlab.evaluation.metrics import (
    ClassTally,
    ConfusionTally,
    ShareTally,
    SpreadTally,
    clopper_pearson,
    holm,
    mcnemar,
)


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (957, 1000), (50_000, 100_000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_the_interval_is_the_exact_one_of_scipy(count: int, n: int, level: float) -> None:
    ours, theirs = clopper_pearson(count, n, level), binomtest(count, n).proportion_ci(level, "exact")
    assert ours.value == count / n
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.95])
def test_the_interval_covers_at_least_as_often_as_it_says(share: float) -> None:
    n = 40
    intervals = [clopper_pearson(k, n) for k in range(n + 1)]
    covered = sum(binom.pmf(i.count, n, share) for i in intervals if i.low <= share <= i.high)
    assert covered >= 0.95


def test_of_nothing_nothing_is_known() -> None:
    nothing = clopper_pearson(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


@pytest.mark.parametrize(("count", "n", "level"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_an_impossible_share_is_refused(count: int, n: int, level: float) -> None:
    with pytest.raises(ValueError, match=rf"got {count} of {n} at level {level}"):
        clopper_pearson(count, n, level)


@pytest.mark.parametrize(("a", "b"), [(0, 5), (5, 0), (3, 9), (12, 12), (0, 1), (40, 80)])
def test_mcnemar_is_a_binomial_test_of_the_discordant(a: int, b: int) -> None:
    assert mcnemar(a, b) == pytest.approx(binomtest(a, a + b, 0.5).pvalue)


def test_mcnemar_without_discordant_examples_sees_no_difference() -> None:
    assert mcnemar(0, 0) == 1.0
    with pytest.raises(ValueError, match="got -1 and 2"):
        mcnemar(-1, 2)


def test_counters_do_not_care_how_the_examples_are_cut() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, 100), rng.integers(-1, 4, 100)
    clean = labels == predictions
    robust = clean & (rng.random(100) < 0.5)
    sizes = rng.random(100)
    for cuts in ([100], [1, 49, 50]):
        share, classes, confusion, spread = ShareTally(), ClassTally(), ConfusionTally(), SpreadTally()
        for part in np.split(np.arange(100), np.cumsum(cuts)[:-1]):
            share.update(robust[part])
            classes.update(labels[part], clean[part], robust[part])
            confusion.update(labels[part], predictions[part])
            spread.update(sizes[part])
        assert (share.compute().count, share.compute().n) == (robust.sum(), 100)
        assert [(c.label, c.name, c.n) for c in classes.compute("abcd")] == [
            (k, "abcd"[k], (labels == k).sum()) for k in range(4)
        ]
        assert [c.clean for c in classes.compute("abcd")] == [(clean & (labels == k)).sum() for k in range(4)]
        assert [c.robust for c in classes.compute("abcd")] == [(robust & (labels == k)).sum() for k in range(4)]
        cells = confusion.compute().cells
        assert sum(n for _, _, n in cells) == 100
        assert all(((labels == t) & (predictions == p)).sum() == n for t, p, n in cells)
        assert spread.compute().median == np.median(sizes)
        assert spread.compute().max == sizes.max()
        assert spread.compute().mean == pytest.approx(sizes.mean())


def test_counters_that_saw_nothing() -> None:
    assert math.isnan(SpreadTally().compute().median)
    assert ClassTally().compute(()) == ()
    assert ConfusionTally().compute().cells == ()


def test_a_class_without_a_name_is_called_by_its_number() -> None:
    tally = ClassTally()
    tally.update(np.array([2]), np.array([True]), np.array([False]))
    assert [(c.label, c.name) for c in tally.compute(("a",))] == [(2, "2")]


def test_correction_for_several_tests() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
