from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, multinomial, norm

from robustlab.statistics import examples_needed, mcnemar, mcnemar_power, paired_difference


def coverage(n: int, only_a: float, only_b: float, level: float) -> float:
    """Coverage of the true difference by the interval: the sum over all tables of two models on n examples."""
    covered = 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            _, low, high = paired_difference(a, b, n, level)
            if low - 1e-9 <= only_b - only_a <= high + 1e-9:
                covered += multinomial.pmf([a, b, n - a - b], n, [only_a, only_b, 1 - only_a - only_b])
    return covered


@pytest.mark.slow
@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0.05, 0.05), (0.1, 0.2), (0.02, 0.3), (0.3, 0.3), (0.4, 0.1), (0.0, 0.1), (0.02, 0.05)]
)
def test_the_interval_of_a_difference_covers_at_its_level(only_a: float, only_b: float) -> None:
    assert coverage(50, only_a, only_b, 0.95) > 0.945
    assert coverage(30, only_a, only_b, 0.99) > 0.985


def test_the_interval_is_not_wider_than_it_must_be() -> None:
    assert coverage(60, 0.2, 0.25, 0.95) < 0.96
    value, low, high = paired_difference(100, 300, 2000)
    share_a, share_b = 100 / 2000, 300 / 2000
    half = norm.ppf(0.975) * math.sqrt((share_a + share_b - (share_b - share_a) ** 2) / 2000)
    assert (low, high) == pytest.approx((value - half, value + half), abs=5e-4), "with many pairs it is the normal one"


def test_the_interval_solves_the_score_equation() -> None:
    """Its ends are where the likelihood under a fixed difference gives a score of z; q(d) by a search here."""
    a, b, n = 4, 11, 60
    _, low, high = paired_difference(a, b, n)
    for d in (low, high):
        q = np.linspace(max(0.0, -d), (1 - d) / 2, 400_001)[1:-1]
        likelihood = b * np.log(q + d) + a * np.log(q) + (n - a - b) * np.log(1 - 2 * q - d)
        best = float(q[likelihood.argmax()])
        score = (b - a - n * d) / math.sqrt(n * (2 * best + d * (1 - d)))
        assert abs(score) == pytest.approx(norm.ppf(0.975), abs=1e-3)


@pytest.mark.parametrize(("a", "b"), [(0, 3), (0, 4), (2, 9), (3, 9), (30, 47), (30, 48), (7, 7)])
def test_the_interval_leaves_out_zero_where_the_plain_test_rejects(a: int, b: int) -> None:
    value, low, high = paired_difference(a, b, 100)
    assert value == (b - a) / 100
    assert low <= value <= high
    assert (low > 0 or high < 0) == ((b - a) ** 2 / (a + b) > norm.ppf(0.975) ** 2)
    assert paired_difference(b, a, 100) == pytest.approx((-value, -high, -low))


def test_without_discordant_pairs_there_may_still_be_a_difference() -> None:
    z = norm.ppf(0.975) ** 2
    assert paired_difference(0, 0, 10) == pytest.approx((0.0, -z / (10 + z), z / (10 + z)), abs=1e-6)


def test_the_ends_of_the_scale() -> None:
    assert math.isnan(paired_difference(0, 0, 0)[0])
    value, low, high = paired_difference(0, 5, 5)
    assert (value, high) == (1.0, 1.0)
    assert 0 < low < 1
    with pytest.raises(ValueError, match=r"fit n, got 3 and 3 of 5"):
        paired_difference(3, 3, 5)


@pytest.mark.parametrize(
    ("discordant", "difference", "power"), [(0.1, 0.03, 0.8), (0.3, -0.08, 0.9), (0.05, 0.05, 0.8)]
)
def test_so_many_examples_find_the_difference_so_often(discordant: float, difference: float, power: float) -> None:
    n = examples_needed(discordant, difference, power=power)
    rng = np.random.default_rng(0)
    better = (discordant + difference) / 2
    tables = rng.multinomial(n, [discordant - better, better, 1 - discordant], size=4000)
    found = sum(mcnemar(int(a), int(b)) <= 0.05 for a, b, _ in tables)
    assert binomtest(found, 4000, power).pvalue > 0.001
    assert mcnemar_power(int(0.9 * n), discordant, difference) < power
    assert mcnemar_power(n, discordant, difference) >= power


def test_the_number_is_near_the_published_approximation() -> None:
    z, z_power = norm.ppf(0.975), norm.ppf(0.8)
    for discordant, difference in ((0.2, 0.02), (0.1, 0.01)):
        spread = z * math.sqrt(discordant) + z_power * math.sqrt(discordant - difference**2)
        about = (spread / difference) ** 2
        assert about < examples_needed(discordant, difference) < 1.06 * about


@pytest.mark.parametrize(
    ("discordant", "difference", "said"),
    [(0.1, 0.0, "other than 0"), (0.1, 0.2, "at least as large"), (0.0, 0.1, "fraction in"), (1.2, 0.1, "fraction in")],
)
def test_differences_that_cannot_be_are_refused(discordant: float, difference: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        examples_needed(discordant, difference)
