from __future__ import annotations

import math

import numpy as np
import pytest

from robustlab.evaluation.metrics import ClassTally, ConfusionTally, FractionTally, SpreadTally


def test_counters_do_not_care_how_the_examples_are_cut() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, 100), rng.integers(-1, 4, 100)
    clean = labels == predictions
    robust = clean & (rng.random(100) < 0.5)
    sizes = rng.random(100)
    for cuts in ([100], [1, 49, 50]):
        share, classes, confusion, spread = FractionTally(), ClassTally(), ConfusionTally(), SpreadTally()
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
