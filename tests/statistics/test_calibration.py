from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from robustlab.statistics.calibration import aurra, calibration, rms_calibration_error
from robustlab.statistics.estimate import Estimate, Real
from robustlab.statistics.intervals import clopper_pearson
from robustlab.statistics.ranking import average_precision, detection


def test_both_versions_of_the_calibration_error_by_hand() -> None:
    """250 examples: a bin of 100 (confidence .5, 30 right) and the last, of 150 (confidence .9, 60 right)."""
    confidence = np.repeat([0.9, 0.5], [150, 100])
    correct = np.r_[np.arange(150) < 60, np.arange(100) < 30]
    assert rms_calibration_error(confidence, correct) == pytest.approx(np.sqrt(0.4 * 0.2**2 + 0.6 * 0.5**2))
    assert rms_calibration_error(confidence, correct, drop_last=True) == pytest.approx(np.sqrt(0.4 * 0.2**2))
    found = calibration(confidence, correct)
    assert found.published is not None
    assert found.published.value == pytest.approx(np.sqrt(0.016))
    assert found.corrected.value == pytest.approx(np.sqrt(0.166))
    assert found.corrected.low < np.sqrt(0.166) < found.corrected.high
    assert found.chance == pytest.approx(np.sqrt((0.25 + 0.09) / 250))


def test_bins_have_similar_confidence_in_any_order() -> None:
    rng = np.random.default_rng(0)
    confidence, order = np.repeat([0.2, 0.4, 0.6], 100), rng.permutation(300)
    correct = np.r_[np.arange(100) < 50, np.arange(100) < 40, np.arange(100) < 90]
    expected = np.sqrt((0.3**2 + 0.0 + 0.3**2) / 3)
    assert rms_calibration_error(confidence[order], correct[order]) == pytest.approx(expected)


def test_examples_of_equal_confidence_share_their_accuracy() -> None:
    """All 200 are equally sure: which of them the first bin has must not matter."""
    confidence = np.full(200, 0.75)
    for correct in (np.arange(200) < 100, np.arange(200) >= 100, np.arange(200) % 2 == 0):
        assert rms_calibration_error(confidence, correct) == pytest.approx(0.25)
        assert aurra(confidence, correct).value == pytest.approx(0.5)


def test_fewer_than_two_bins_leave_no_published_version() -> None:
    found = calibration(np.full(199, 0.5), np.arange(199) < 100)
    assert found.published is None
    assert found.corrected.value == pytest.approx(100 / 199 - 0.5)
    assert np.isnan(rms_calibration_error(np.full(199, 0.5), np.arange(199) < 100, drop_last=True))


def test_the_error_by_chance_is_as_large_as_reported() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.2, 1, 2000)
    measured = [rms_calibration_error(confidence, rng.random(2000) < confidence) for _ in range(100)]
    found = calibration(confidence, rng.random(2000) < confidence)
    assert found.chance == pytest.approx(np.sqrt(np.mean(np.square(measured))), rel=0.05)


def test_aurra_by_hand() -> None:
    confidence, correct = np.array([0.7, 0.9, 0.6, 0.8]), np.array([True, True, True, False])
    assert aurra(confidence, correct).value == pytest.approx((1 + 1 / 2 + 2 / 3 + 3 / 4) / 4)


def test_aurra_without_errors_has_the_interval_of_a_fraction() -> None:
    found = aurra(np.linspace(0.5, 1, 30), np.ones(30, bool))
    assert found.value == 1.0
    assert found.low == pytest.approx(clopper_pearson(30, 30).low)


def ranked(rng: np.random.Generator) -> tuple[float, Callable[[], Estimate]]:
    unknown, known = rng.normal(0.8, 1, 60), rng.normal(0, 1, 300)
    value = average_precision(np.r_[unknown, known], np.arange(360) < 60)
    return value, lambda: detection(unknown, known).aupr


def answered(rng: np.random.Generator) -> tuple[Real, NDArray[np.bool_]]:
    """Confidences, and verdicts that fall short of them."""
    confidence = rng.beta(2, 1, 400)
    return confidence, rng.random(400) < confidence**2


def calibrated(rng: np.random.Generator) -> tuple[float, Callable[[], Estimate]]:
    given = answered(rng)
    return rms_calibration_error(*given), lambda: calibration(*given).corrected


def abstaining(rng: np.random.Generator) -> tuple[float, Callable[[], Estimate]]:
    confidence, correct = answered(rng)
    right = correct[np.argsort(-confidence)]
    value = float(np.mean(np.cumsum(right) / np.arange(1, 401)))
    return value, lambda: aurra(confidence, correct)


@pytest.mark.slow
@pytest.mark.parametrize("draw", [ranked, calibrated, abstaining])
def test_the_intervals_cover_the_mean_measurement(
    draw: Callable[[np.random.Generator], tuple[float, Callable[[], Estimate]]],
) -> None:
    rng = np.random.default_rng(2)
    truth = float(np.mean([draw(rng)[0] for _ in range(2000)]))
    found = [draw(rng)[1]() for _ in range(60)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert covered >= 0.88
    width = np.mean([one.high - one.low for one in found])
    spread = np.std([one.value for one in found])
    assert 0.7 <= width / (2 * 1.96 * spread) <= 1.4  # neither too wide


def test_invalid_confidences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"confidences of shape \(3,\) and verdicts of shape \(2,\)"):
        aurra(np.full(3, 0.5), np.ones(2, bool))
    with pytest.raises(ValueError, match=r"confidences lie in \[0.5, 90\], expected probabilities"):
        rms_calibration_error(np.array([0.5, 90.0]), np.ones(2, bool))
    with pytest.raises(ValueError, match=r"expected probabilities in \[0, 1\]"):
        aurra(np.array([0.5, np.nan]), np.ones(2, bool))


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_that_of_scikit_learn(ties: bool) -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(3)
    for _ in range(20):
        positive = rng.random(80) < 0.2
        positive[0] = True
        score = rng.normal(positive.astype(float), 1)
        score = score.round() if ties else score
        assert average_precision(score, positive) == pytest.approx(average_precision_score(positive, score))


def test_average_precision_by_hand() -> None:
    """Positives at ranks 1, 3 and 4 of 5: precision 1, 2/3 and 3/4 where each is found."""
    score, positive = np.array([9.0, 8, 7, 6, 5]), np.array([True, False, True, True, False])
    assert average_precision(score, positive) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_a_score_that_knows_nothing_comes_to_the_base_rate() -> None:
    found = detection(np.zeros(20), np.zeros(100))
    assert found.aupr.value == pytest.approx(found.base_rate) == pytest.approx(1 / 6)
    assert (found.unknown, found.known, found.aupr.n) == (20, 100, 120)
    noise = np.random.default_rng(4).random(1200)
    random = detection(noise[:200], noise[200:])
    assert random.aupr.low < random.base_rate < random.aupr.high


def test_a_perfect_score_is_as_sure_as_the_unknown_inputs_are_many() -> None:
    found = detection(np.array([3.0, 4.0, 5.0]), np.array([1.0, 2.0]))
    assert found.aupr.value == 1.0
    assert found.aupr.low == pytest.approx(clopper_pearson(3, 3).low)


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(ValueError, match="0 positive and 0 NaN"):
        average_precision(np.ones(3), np.zeros(3, bool))
    with pytest.raises(ValueError, match="1 positive and 2 NaN"):
        average_precision(np.array([np.nan, 1, np.nan]), np.array([True, False, False]))
