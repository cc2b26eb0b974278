"""Two models on the same corrupted images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, ttest_1samp
from torch import Tensor, nn

from robustlab.core import RunError
from robustlab.corruptions import corruption
from robustlab.evaluation import CorruptionSettings, compare_corruptions, evaluate_corruptions
from robustlab.statistics import holm

NAMES = ("gaussian_noise", "contrast")
SEVERITIES = (2, 5)


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    generator = torch.Generator().manual_seed(4)
    return torch.rand(80, 1, 8, 8, generator=generator), torch.randint(3, (80,), generator=generator)


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def test_differences_are_paired_image_by_image(images: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    a, b = model(1), model(2)
    for name, one in (("a", a), ("b", b)):
        how = CorruptionSettings(name=name)
        evaluate_corruptions(one, images, corruptions=NAMES, severities=SEVERITIES, out=tmp_path / name, settings=how)
    found = compare_corruptions(tmp_path / "a", tmp_path / "b")
    x, y = images
    rights = {}
    for name in NAMES:
        for severity in SEVERITIES:
            corrupted = corruption(name)(x, severity=severity)
            rights[name, severity] = [(m(corrupted).argmax(1) == y).double().numpy() for m in (a, b)]
    p_values = [binomtest(int(((a(x).argmax(1) == y) & (b(x).argmax(1) != y)).sum()),
                          int(((a(x).argmax(1) == y) != (b(x).argmax(1) == y)).sum())).pvalue]  # fmt: skip
    for (name, severity), (one, two) in rights.items():
        pair = found.cell(name, severity)
        assert pair is not None
        assert (pair.only_a, pair.only_b) == (int((one > two).sum()), int((two > one).sum()))
        assert pair.difference == pytest.approx((two - one).mean())
        assert pair.low < pair.difference < pair.high
        p_values.append(binomtest(pair.only_a, pair.only_a + pair.only_b).pvalue)
        assert pair.p_value == pytest.approx(p_values[-1])
    assert [c.corrected for c in found.cells] == pytest.approx(holm(p_values))
    assert found.cells[0].corruption == "clean"
    each = np.mean([two - one for one, two in rights.values()], axis=0)
    student = ttest_1samp(each, 0).confidence_interval()
    assert found.mean.value == pytest.approx(each.mean())
    assert (found.mean.low, found.mean.high) == pytest.approx((student.low, student.high))
    fog = found.corruptions[1]
    both = np.mean([rights["contrast", s][1] - rights["contrast", s][0] for s in SEVERITIES])
    assert fog.corruption == "contrast"
    assert fog.difference.value == pytest.approx(both)


def test_what_only_one_has_is_left_out_and_other_images_are_refused(
    images: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    one = evaluate_corruptions(model(1), images, corruptions=NAMES, severities=SEVERITIES, out=tmp_path / "1")
    two = evaluate_corruptions(model(2), images, corruptions=["contrast"], severities=[1, 5], out=tmp_path / "2")
    assert [(c.corruption, c.severity) for c in compare_corruptions(one, two).cells] == [("clean", 0), ("contrast", 5)]
    other = evaluate_corruptions(model(2), images, corruptions=["contrast"], settings=CorruptionSettings(seed=1))
    with pytest.raises(ValueError, match=r"the images differ.*seed 0\).*seed 1\)"):
        compare_corruptions(one, other)
    fog = evaluate_corruptions(model(2), images, corruptions=["brightness"])
    with pytest.raises(ValueError, match="no common corruption and severity"):
        compare_corruptions(one, fog)
    with pytest.raises(RunError, match="has no run directory"):
        compare_corruptions(one, replace(two, directory=None))
