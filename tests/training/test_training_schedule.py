"""Learning-rate schedules against their shapes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from robustlab.training import Constant, Cosine, Cyclic, MultiStep, OneCycle


def test_cosine_halves_at_half_time_and_is_symmetric_around_it() -> None:
    factors = [Cosine()(step, 100) for step in range(100)]
    assert factors[0] == 1.0
    assert factors[50] == pytest.approx(0.5)
    assert all(factors[50 - k] + factors[50 + k] == pytest.approx(1.0) for k in range(50))
    assert factors == sorted(factors, reverse=True)


def test_cosine_with_warmup_rises_in_equal_steps_to_the_full_rate() -> None:
    factors = [Cosine(warmup=0.2)(step, 50) for step in range(50)]
    rises = [b - a for a, b in zip([0.0, *factors[:10]], factors[:11], strict=True)]
    assert rises == pytest.approx([rises[0]] * 11)
    assert factors[10] == 1.0 == max(factors)
    assert factors[30] == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


def test_one_cycle_is_two_straight_lines_with_the_top_at_peak() -> None:
    factors = [OneCycle(peak=0.4, start=0.1)(step, 50) for step in range(50)]
    assert factors[0] == pytest.approx(0.1)
    assert factors.index(max(factors)) == 20
    assert factors[20] == 1.0
    up = {round(b - a, 9) for a, b in pairwise(factors[:21])}
    down = {round(a - b, 9) for a, b in pairwise(factors[20:])}
    assert up == {round(0.9 / 20, 9)}
    assert down == {round(1 / 30, 9)}


@pytest.mark.parametrize("schedule", [Constant(), Cosine(), Cosine(0.5), OneCycle(), OneCycle(0.01, 0.0)], ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_factors_stay_between_zero_and_one_however_short_the_run(schedule: Constant, steps: int) -> None:
    assert all(0.0 <= schedule(step, steps) <= 1.0 for step in range(steps))


def test_shares_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"warmup is a fraction of all steps in \[0, 1\), got 1\.5"):
        Cosine(warmup=1.5)
    with pytest.raises(ValueError, match=r"peak must be in \(0, 1\).*got 0 and 0\.04"):
        OneCycle(peak=0)


def test_steps_drop_where_they_are_told() -> None:
    schedule = MultiStep((0.3, 0.7), factor=0.5)
    assert [schedule(step, 10) for step in range(10)] == [1.0] * 3 + [0.5] * 4 + [0.25] * 3


def test_a_cycle_is_repeated() -> None:
    schedule = Cyclic(3, peak=0.25, start=0.2)
    one = [schedule(step, 12) for step in range(12)]
    assert one[:4] == pytest.approx([0.2, 1.0, 0.2 + 0.8 * 2 / 3, 0.2 + 0.8 / 3])
    assert one == pytest.approx(one[:4] * 3)


@pytest.mark.parametrize("schedule", [MultiStep, Cyclic])
def test_factors_stay_in_range(schedule: type[MultiStep | Cyclic]) -> None:
    for steps in (1, 7, 1000):
        assert all(0.0 <= schedule()(step, steps) <= 1.0 for step in range(steps))


def test_steps_and_cycles_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"drops must be rising fractions .* got \(0\.7, 0\.3\) and 0\.1"):
        MultiStep((0.7, 0.3))
    with pytest.raises(ValueError, match=r"cycles must be at least 1, .* got 0, 0\.5 and 0\.0"):
        Cyclic(0)
