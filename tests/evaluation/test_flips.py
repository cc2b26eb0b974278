from __future__ import annotations

import numpy as np
import pytest

from robustlab.evaluation.corruptions.flips import flip_rates, flips
from robustlab.statistics.intervals import clopper_pearson

SEQUENCES = np.array([[1, 1, 2, 1], [3, 4, 4, 4]])


def test_flips_by_hand() -> None:
    """Frame by frame 0 1 1 and 1 0 0; against the first 0 1 0 and 1 1 1; two frames before 1 0 and 1 0."""
    assert flips(SEQUENCES).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert flips(SEQUENCES, first=True).tolist() == pytest.approx([1 / 3, 1])
    assert flips(SEQUENCES, step=2).tolist() == pytest.approx([1 / 2, 1 / 2])


def test_noise_is_compared_with_the_first_frame() -> None:
    found = flip_rates({"tilt": SEQUENCES, "shot_noise": SEQUENCES}, baseline={"tilt": 0.25, "shot_noise": 0.5})
    assert [one.probability.value for one in found.each] == pytest.approx([1 / 2, 2 / 3])
    assert [one.rate.value for one in found.each if one.rate] == pytest.approx([2, 4 / 3])
    assert found.mean_probability.value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.mfr is not None
    assert found.mfr.value == pytest.approx((2 + 4 / 3) / 2)
    assert found.mfr.n == 2
    larger = flip_rates({"tilt": SEQUENCES, "shot_noise": SEQUENCES}, step=2)
    assert [one.probability.value for one in larger.each] == pytest.approx([1 / 2, 2 / 3])
    assert (larger.mfr, larger.each[0].rate) == (None, None)


def test_frames_of_a_sequence_are_not_counted_as_independent() -> None:
    """Sequences that flip always or never tell as much as one verdict each."""
    rows = np.where(np.arange(50)[:, None] < 10, np.arange(31), 0)
    found, exact = flip_rates({"tilt": rows}).mean_probability, clopper_pearson(10, 50)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"predictions of shape \(2, 4\): give sequences .* more than 4 frames"):
        flip_rates({"tilt": SEQUENCES}, step=4)
    with pytest.raises(ValueError, match="no flip probability above 0 for tilt"):
        flip_rates({"tilt": SEQUENCES}, baseline={"scale": 0.1})
    with pytest.raises(ValueError, match="cells hold 1 to 2 images"):
        flip_rates({"tilt": SEQUENCES, "scale": SEQUENCES[:1]})
    with pytest.raises(ValueError, match="at least one perturbation"):
        flip_rates({})
