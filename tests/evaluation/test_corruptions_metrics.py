from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from robustlab.corruptions import EXTRA
from robustlab.evaluation.corruptions.baseline import Baseline, Cell, alexnet, baseline_of
from robustlab.evaluation.corruptions.metrics import corruption_errors
from robustlab.statistics.estimate import beta_interval, bootstrap_variance, mean_interval
from robustlab.statistics.intervals import clopper_pearson

Wrong = NDArray[np.bool_]

# Made-up error rates with the corruption errors that AlexNet's published errors give them, worked out elsewhere.
WORKED = {
    "gaussian_noise": ([0.60749, 0.78008, 0.91413, 1, 0.93877], 95.675452),
    "shot_noise": ([0.75027, 0.44035, 0.72929, 1, 0.88179], 85.004718),
    "impulse_noise": ([0.81551, 0.51004, 0.74135, 0.63965, 0.82252], 76.499393),
    "defocus_blur": ([0.55411, 0.37177, 0.53576, 0.61003, 0.99431], 74.790945),
    "glass_blur": ([0.61699, 0.44714, 0.86878, 0.53439, 0.81253], 79.389012),
    "motion_blur": ([0.33657, 0.35099, 0.83984, 0.56154, 0.58296], 67.991776),
    "zoom_blur": ([0.7627, 0.78797, 0.54415, 0.90672, 0.71811], 93.182274),
    "snow": ([0.65034, 0.55057, 0.92053, 0.84005, 1], 91.403251),
    "frost": ([0.63615, 0.54161, 0.63637, 0.53927, 0.54883], 70.223284),
    "fog": ([0.36374, 0.51776, 0.72723, 0.43807, 0.85689], 70.88014),
    "brightness": ([0.31722, 0.33271, 0.53568, 0.49015, 0.49948], 77.055289),
    "contrast": ([0.50911, 0.70271, 0.47477, 1, 0.50997], 74.930732),
    "elastic_transform": ([0.4996, 0.70602, 0.28447, 0.62323, 0.57976], 83.369863),
    "pixelate": ([0.44234, 0.27608, 0.38931, 0.53, 0.97934], 72.915134),
    "jpeg_compression": ([0.31515, 0.5217, 0.60605, 0.69728, 0.5284], 87.99934),
}
WORKED_MCE = 80.087373


def first(count: int, n: int) -> Wrong:
    """Verdicts on n images of which the first are wrong."""
    return np.arange(n) < count


def every(errors: dict[str, list[float]], n: int) -> dict[Cell, Wrong]:
    return {(name, s): first(round(e * n), n) for name, row in errors.items() for s, e in enumerate(row, start=1)}


def test_the_worked_example_of_alexnets_table_comes_out() -> None:
    n = 100_000
    wrong = every({name: row for name, (row, _) in WORKED.items()}, n)
    found = corruption_errors(wrong, baseline=alexnet())
    assert {e.corruption: 100 * e.ce.value for e in found.each if e.ce} == pytest.approx(
        {name: ce for name, (_, ce) in WORKED.items()}, abs=1e-6
    )
    assert found.mce is not None
    assert 100 * found.mce.value == pytest.approx(WORKED_MCE, abs=1e-6)
    assert found.mean_error.value == pytest.approx(np.mean([row for row, _ in WORKED.values()]))
    assert found.relative_mce is None


def test_another_programs_corruption_errors_of_a_resnet_50_come_out() -> None:
    """Accuracies over all severities, and corruption errors, as printed elsewhere for torchvision's first weights."""
    printed = {
        "brightness": (68.02, 56.64), "contrast": (39.06, 71.43), "defocus_blur": (38.75, 74.71),
        "elastic_transform": (45.25, 84.75), "fog": (45.83, 66.11), "frost": (38.14, 74.84),
        "gaussian_noise": (29.29, 79.77), "glass_blur": (26.79, 88.61), "impulse_noise": (23.81, 82.58),
    }  # fmt: skip
    wrong = every({name: [1 - accuracy / 100] * 5 for name, (accuracy, _) in printed.items()}, 10_000)
    found = corruption_errors(wrong, baseline=alexnet())
    assert {e.corruption: 100 * e.ce.value for e in found.each if e.ce} == pytest.approx(
        {name: ce for name, (_, ce) in printed.items()}, abs=0.011
    )


def test_alexnet_itself_has_one_hundred_per_cent() -> None:
    cells = {(name, s): error for (name, s), error in alexnet().cells.items() if name == "fog"}
    wrong = {cell: first(round(error * 100_000), 100_000) for cell, error in cells.items()}
    found = corruption_errors(wrong, clean=first(43_500, 100_000), baseline=alexnet())
    assert found.mce is not None
    assert found.relative_mce is not None
    assert (found.mce.value, found.relative_mce.value) == pytest.approx((1, 1), abs=1e-5)


def test_relative_errors_by_hand() -> None:
    # Errors .2 and .4, clean .1: .1 + .3 is added. The baseline: .5 and .6, clean .3: .2 + .3.
    wrong = {("fog", 1): first(2, 10), ("fog", 2): first(4, 10)}
    base = Baseline("b", {("fog", 1): 0.5, ("fog", 2): 0.6}, clean=0.3)
    found = corruption_errors(wrong, clean=first(1, 10), baseline=base)
    assert found.each[0].relative_ce == found.relative_mce
    assert found.relative_mce is not None
    assert found.relative_mce.value == pytest.approx(0.4 / 0.5)
    assert found.mce is not None
    assert found.mce.value == pytest.approx(0.6 / 1.1)


def test_a_corruption_that_does_not_harm_the_baseline_has_no_relative_error() -> None:
    wrong = {("fog", 1): first(3, 10), ("snow", 1): first(4, 10)}
    base = Baseline("b", {("fog", 1): 0.3, ("snow", 1): 0.6}, clean=0.3)
    found = corruption_errors(wrong, clean=first(1, 10), baseline=base)
    assert [e.relative_ce is None for e in found.each] == [True, False]
    assert found.relative_mce is None


def test_the_means_leave_out_the_extra_corruptions_unless_there_are_no_others() -> None:
    wrong = {("fog", 3): first(2, 10), **{(name, 3): first(9, 10) for name in EXTRA}}
    found = corruption_errors(wrong)
    assert found.over == ("fog",)
    assert found.mean_error.value == pytest.approx(0.2)
    assert len(found.each) == 5
    assert corruption_errors({(name, 3): first(9, 10) for name in EXTRA}).over == EXTRA


def test_one_cells_interval_is_the_exact_one() -> None:
    found = corruption_errors({("fog", 1): first(7, 50)}).mean_error
    exact = clopper_pearson(7, 50)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    halved = corruption_errors({("fog", 1): first(7, 50)}, baseline=Baseline("b", {("fog", 1): 0.5})).mce
    assert halved is not None
    assert (halved.low, halved.high) == pytest.approx((2 * exact.low, 2 * exact.high))


def test_verdicts_that_go_together_are_not_counted_as_independent() -> None:
    """The same verdicts in all cells tell no more than those of one cell; other images each time do."""
    same = {("fog", s): first(20, 100) for s in (1, 2, 3, 4, 5)}
    one, together = corruption_errors({("fog", 1): first(20, 100)}), corruption_errors(same)
    assert (together.mean_error.low, together.mean_error.high) == pytest.approx(
        (one.mean_error.low, one.mean_error.high)
    )
    apart = corruption_errors(same, same_images=False)
    exact = clopper_pearson(100, 500)
    assert (apart.mean_error.low, apart.mean_error.high) == pytest.approx((exact.low, exact.high))
    assert not apart.same_images


@pytest.mark.slow
@pytest.mark.parametrize("same_images", [True, False])
def test_the_interval_of_mce_covers(same_images: bool) -> None:
    """Images differ in how hard they are, so that verdicts on one image go together."""
    rng, n, cells = np.random.default_rng(0), 60, [(name, s) for name in ("a", "b") for s in (1, 2, 3)]
    base, covered, relative = Baseline("b", dict.fromkeys(cells, 0.5), clean=0.2), 0, 0
    for _ in range(400):
        hardness = {cell: rng.beta(0.4, 1.2, n) for cell in (*cells, ("", 0))}
        if same_images:
            hardness = dict.fromkeys(hardness, hardness["", 0])
        wrong = {cell: rng.random(n) < hard for cell, hard in hardness.items()}
        clean = wrong.pop(("", 0))
        found = corruption_errors(wrong, clean=clean, baseline=base, same_images=same_images)
        assert found.mce is not None
        assert found.relative_mce is not None
        covered += found.mce.low <= 0.25 / 0.5 <= found.mce.high
        relative += found.relative_mce.low <= 0.0 <= found.relative_mce.high
    assert 0.925 <= covered / 400 <= 0.99
    assert 0.925 <= relative / 400 <= 0.99


def test_a_model_that_makes_no_error_is_not_certain_to_make_none() -> None:
    found = corruption_errors({("fog", s): first(0, 30) for s in (1, 2)}, baseline=alexnet())
    assert found.mce is not None
    assert (found.mce.value, found.mce.low) == (0.0, 0.0)
    assert found.mean_error.high == pytest.approx(clopper_pearson(0, 30).high)


def test_the_published_mean_goes_before_the_errors_by_severity() -> None:
    assert alexnet().total("brightness", (1, 2, 3, 4, 5)) == pytest.approx(5 * 0.564592)
    assert alexnet().total("brightness", (1, 5)) == pytest.approx(0.4514 + 0.72444)


def test_errors_that_a_baseline_lacks_are_asked_for() -> None:
    with pytest.raises(ValueError, match=r"AlexNet has no error for spatter at severity 2, only its mean over"):
        alexnet().total("spatter", (2,))
    with pytest.raises(ValueError, match="AlexNet has no error for rain at severity 1, nothing is known"):
        alexnet().total("rain", (1,))
    with pytest.raises(ValueError, match="baseline b makes no error on fog"):
        baseline_of("b", {("fog", 1): first(0, 5)}).total("fog", (1,))


def test_a_models_verdicts_make_a_baseline() -> None:
    base = baseline_of("mine", {("fog", 1): first(1, 4), ("fog", 2): first(2, 4)}, first(1, 10))
    assert base.total("fog", (1, 2)) == pytest.approx(0.75)
    assert base.clean == pytest.approx(0.1)
    assert base.total_above_clean("fog", (1, 2)) == pytest.approx(0.55)


def test_tables_with_holes_are_refused() -> None:
    with pytest.raises(ValueError, match="snow was not evaluated at severity 2, others were"):
        corruption_errors({("fog", 1): first(1, 4), ("fog", 2): first(1, 4), ("snow", 1): first(1, 4)})
    with pytest.raises(ValueError, match=r"corruptions at severities 1 to 5, got severities \(6,\)"):
        corruption_errors({("fog", 6): first(1, 4)})
    with pytest.raises(ValueError, match=r"cells hold 3 to 4 images: .* same_images=False"):
        corruption_errors({("fog", 1): first(1, 4), ("fog", 2): first(1, 3)})
    with pytest.raises(ValueError, match="at least one image in each cell"):
        corruption_errors({("fog", 1): first(0, 0)}, same_images=False)


def test_a_statistic_as_uncertain_as_a_share_has_a_shares_interval() -> None:
    exact = clopper_pearson(12, 40)
    found = beta_interval(0.3, 0.3 * 0.7 / 40, 40)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert beta_interval(0.3, 0.0, 40, most=80).high == pytest.approx(clopper_pearson(24, 80).high)
    assert math.isnan(beta_interval(math.nan, 0.0, 0).value)
    with pytest.raises(ValueError, match=r"no interval for 1.2 in \[0, 1\]"):
        beta_interval(1.2, 0.1, 3)


def test_a_mean_difference_without_variance_is_as_sure_as_n_equal_verdicts() -> None:
    found = mean_interval(0.0, 0.0, 25, 2.0)
    assert (found.low, found.high) == pytest.approx((-2 * clopper_pearson(0, 25).high, 2 * clopper_pearson(0, 25).high))
    with pytest.raises(ValueError, match="no interval for the mean of 0 examples"):
        mean_interval(0.0, 0.0, 0, 2.0)


def test_the_bootstrap_finds_the_variance_of_a_mean_and_keeps_groups_apart() -> None:
    values = np.arange(40, dtype=float)
    found = bootstrap_variance(lambda rows: float(values[rows].mean()), (40,))
    assert found == pytest.approx(values.var() / 40, rel=0.35)
    groups = np.repeat([0.0, 1.0], [10, 30])
    assert bootstrap_variance(lambda rows: float(groups[rows].mean()), (10, 30)) == 0.0
