"""Verdicts on claims: the t-interval in closed form and by simulation, and the frequency of wrong verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robustlab.studies import t_interval
from robustlab.studies.claim_engine.verdict import Verdict, combined, judged


def test_interval_of_two_values_in_closed_form() -> None:
    # With one degree of freedom Student's distribution is Cauchy's: the quantile is tan(pi (p - 1/2)).
    mean, low, high = t_interval([0.0, 2.0], level=0.95)
    half = math.tan(math.pi * 0.475)
    assert (mean, low, high) == pytest.approx((1.0, 1.0 - half, 1.0 + half))


def test_interval_of_three_values_in_closed_form() -> None:
    # With two degrees of freedom the quantile is (2p - 1) / sqrt(2 p (1 - p)).
    mean, low, high = t_interval([1.0, 2.0, 6.0], level=0.9)
    half = 0.9 / math.sqrt(2 * 0.95 * 0.05) * math.sqrt(7.0) / math.sqrt(3)
    assert (mean, low, high) == pytest.approx((3.0, 3.0 - half, 3.0 + half))


def test_interval_agrees_with_scipy_at_any_size() -> None:
    from scipy import stats

    values = np.random.default_rng(0).normal(size=11).tolist()
    expected = stats.t.interval(0.95, 10, loc=np.mean(values), scale=stats.sem(values))
    assert t_interval(values)[1:] == pytest.approx(expected)


def test_interval_covers_at_its_level() -> None:
    draws = np.random.default_rng(1).normal(0.3, 2.0, size=(4000, 3))
    covered = sum(low <= 0.3 <= high for _, low, high in map(t_interval, draws.tolist()))
    assert covered / 4000 == pytest.approx(0.95, abs=0.0125)  # 3.6 standard errors


@pytest.mark.parametrize("values", [[], [0.4], [0.4, math.nan, 0.5]])
def test_without_values_nothing_is_excluded(values: list[float]) -> None:
    interval = t_interval(values)
    assert (interval.low, interval.high) == (-math.inf, math.inf)
    assert judged(values, 0.1) == "not enough evidence"


def test_level_must_be_a_probability() -> None:
    with pytest.raises(ValueError, match=r"level of an interval must be in \(0, 1\), got 95"):
        t_interval([1.0, 2.0], level=95)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.30, 0.31, 0.32], "reproduced"),
        ([0.05, 0.06, 0.07], "not reproduced"),
        ([0.10, 0.31, 0.52], "not enough evidence"),
        ([0.30, 0.31], "not enough evidence"),
        ([0.05, 0.06], "not enough evidence"),
        ([0.25, 0.25, 0.25], "reproduced"),
    ],
)
def test_verdict_depends_on_the_ends_of_the_interval(values: list[float], verdict: Verdict) -> None:
    assert judged(values, 0.2) == verdict


def test_at_the_bar_itself_verdicts_are_rarely_wrong() -> None:
    draws = np.random.default_rng(2).normal(0.2, 0.05, size=(4000, 3)).tolist()
    found = [judged(values, 0.2) for values in draws]
    for verdict in ("reproduced", "not reproduced"):
        assert found.count(verdict) / 4000 == pytest.approx(0.025, abs=0.009)


def test_with_four_effects_at_the_bar_a_claim_is_refuted_no_more_often() -> None:
    draws = np.random.default_rng(3).normal(0.2, 0.05, size=(2000, 4, 3)).tolist()
    found = [combined([judged(values, 0.2, among=4) for values in effects]) for effects in draws]
    assert found.count("not reproduced") / 2000 == pytest.approx(0.025, abs=0.012)
    plain = [combined([judged(values, 0.2) for values in effects]) for effects in draws]
    assert plain.count("not reproduced") / 2000 > 0.06
    assert found.count("reproduced") / 2000 < 0.01


def test_all_effects_must_be_there_and_one_that_is_not_refutes() -> None:
    assert combined(["reproduced", "reproduced"]) == "reproduced"
    assert combined(["reproduced", "not enough evidence"]) == "not enough evidence"
    assert combined(["not enough evidence", "not reproduced"]) == "not reproduced"
    assert combined([]) == "not enough evidence"
