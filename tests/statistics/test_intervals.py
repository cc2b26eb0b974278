from __future__ import annotations

import math

import pytest
from scipy.stats import binom, binomtest

from robustlab.statistics.intervals import clopper_pearson


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (957, 1000), (50_000, 100_000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_the_interval_is_the_exact_one_of_scipy(count: int, n: int, level: float) -> None:
    ours, theirs = clopper_pearson(count, n, level), binomtest(count, n).proportion_ci(level, "exact")
    assert ours.value == count / n
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.95])
def test_the_interval_covers_at_least_at_its_level(share: float) -> None:
    n = 40
    intervals = [clopper_pearson(k, n) for k in range(n + 1)]
    covered = sum(binom.pmf(i.count, n, share) for i in intervals if i.low <= share <= i.high)
    assert covered >= 0.95


def test_of_nothing_nothing_is_known() -> None:
    nothing = clopper_pearson(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


@pytest.mark.parametrize(("count", "n", "level"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_an_impossible_fraction_is_refused(count: int, n: int, level: float) -> None:
    with pytest.raises(ValueError, match=rf"got {count} of {n} at level {level}"):
        clopper_pearson(count, n, level)
