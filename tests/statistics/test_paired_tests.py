from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binomtest, ttest_rel

from robustlab.statistics.paired import holm, mcnemar, paired_means


@pytest.mark.parametrize(("a", "b"), [(0, 5), (5, 0), (3, 9), (12, 12), (0, 1), (40, 80)])
def test_mcnemar_is_a_binomial_test_of_the_discordant(a: int, b: int) -> None:
    assert mcnemar(a, b) == pytest.approx(binomtest(a, a + b, 0.5).pvalue)


def test_mcnemar_without_discordant_examples_sees_no_difference() -> None:
    assert mcnemar(0, 0) == 1.0
    with pytest.raises(ValueError, match="got -1 and 2"):
        mcnemar(-1, 2)


def test_correction_for_several_tests() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1.0, 1.0]


@pytest.mark.parametrize("n", [2, 3, 40])
def test_paired_means_are_those_of_a_paired_t_test(n: int) -> None:
    torch.manual_seed(n)
    first = torch.randn(n, dtype=torch.float64)
    second = first + torch.rand(n, dtype=torch.float64)
    found, expected = paired_means(first.tolist(), second.tolist(), level=0.9), ttest_rel(second, first)
    interval = expected.confidence_interval(0.9)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))
    assert found.difference.value == pytest.approx(float((second - first).mean()))


def test_paired_means_without_spread_or_examples() -> None:
    assert paired_means([1, 2], [2, 3]).p == 0
    assert paired_means([1, 2], [1, 2]).p == 1
    one = paired_means([1], [2])
    assert (one.p, one.difference.value, one.difference.low) == (1, 1, -math.inf)
    assert math.isnan(paired_means([], []).difference.value)
    with pytest.raises(ValueError, match="two finite numbers of each example, got 1 and 2, 1 of them not finite"):
        paired_means([1], [2, math.nan])
