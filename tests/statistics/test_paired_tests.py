from __future__ import annotations

import pytest
from scipy.stats import binomtest

from robustlab.statistics.paired import holm, mcnemar


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
