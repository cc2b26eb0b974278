"""Errors of corruptions, their constants and their repr."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robustlab.core import Corruption
from robustlab.corruptions import CORRUPTIONS, EXTRA, SEVERITY, Corrupt, corruption


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("gausian_noise", "gaussian_noise"),
        ("Zoom Blur", "zoom_blur"),
        ("jpeg", "jpeg_compression"),
        ("zoom", "zoom_blur"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(wrong: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"no corruption is called '{wrong}'; did you mean {nearest}"):
        corruption(wrong)


def test_an_unknown_variant_gets_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"variant must be one of imagenet-c, corrected, cifar-c, imagecorruptions, got 'imagenet'"
    ):
        Corrupt("contrast", "imagenet")  # type: ignore[arg-type]


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, "3"])
def test_severity_is_a_whole_number_from_one_to_five(severity: int) -> None:
    with pytest.raises(ValueError, match=f"severity must be a whole number from 1 to 5, got {severity!r}"):
        corruption("contrast")(torch.zeros(1, 3, 8, 8), severity=severity)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            torch.zeros(3, 8, 8),
            r"floating point \(N, C, H, W\) with one or three channels, got torch.float32 \(3, 8, 8\)",
        ),
        (torch.zeros(1, 4, 8, 8), r"one or three channels, got torch.float32 \(1, 4, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"floating point .* got torch.uint8"),
        (torch.full((1, 3, 8, 8), 255.0), r"in \[0, 1\], got values from 255 to 255; divide 0..255 by 255"),
        (torch.full((1, 3, 8, 8), -0.1), r"in \[0, 1\], got values from -0.1 to -0.1"),
        (torch.full((1, 3, 8, 8), torch.nan), r"in \[0, 1\], got values from nan to nan"),
    ],
)
def test_invalid_images_are_refused(x: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corruption("contrast")(x, severity=1)


@pytest.mark.parametrize(
    ("name", "severity", "smallest"),
    [("defocus_blur", 5, 21), ("defocus_blur", 1, 7), ("glass_blur", 5, 9), ("pixelate", 5, 4)],
)
def test_images_smaller_than_the_kernel_are_refused(name: str, severity: int, smallest: int) -> None:
    c = corruption(name)
    assert c(torch.zeros(1, 3, smallest, smallest), severity=severity).shape == (1, 3, smallest, smallest)
    with pytest.raises(ValueError, match=f"{name} needs images of at least {smallest} x {smallest} .* got 40 x"):
        c(torch.zeros(1, 3, 40, smallest - 1), severity=severity)


@pytest.mark.parametrize("ids", [torch.arange(3), torch.zeros(2), torch.zeros(2, 1, dtype=torch.int64)])
def test_ids_are_one_whole_number_per_image(ids: Tensor) -> None:
    with pytest.raises(ValueError, match=r"ids must be a tensor \(2,\) of whole numbers, one per example, got"):
        corruption("contrast")(torch.zeros(2, 3, 8, 8), severity=1, ids=ids)


def test_it_is_a_value() -> None:
    c: Corruption = corruption("fog", "cifar-c")
    assert repr(c) == "Corrupt(name='fog', variant='cifar-c')"
    assert {corruption("fog"), corruption("fog"), c} == {corruption("fog"), c}


@pytest.mark.parametrize("name", ["elastic_transform", "frost"])
def test_corruptions_that_the_other_library_defines_otherwise_are_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{name} is not offered as 'imagecorruptions', .* take 'imagenet-c', or leave"
    ):
        corruption(name, "imagecorruptions")


def test_a_change_has_a_version_where_images_have_changed() -> None:
    snow = corruption("snow")
    assert snow.described(33) == snow.described(224) == "Corrupt(name='snow', variant='imagenet-c', version=2)"
    assert snow.described(28) == snow.described(32) == repr(snow)
    assert corruption("snow", "cifar-c").described(28).endswith("version=2)")
    for one in (corruption("snow", "corrected"), corruption("snow", "imagecorruptions"), corruption("pixelate")):
        assert one.described(224) == repr(one)


def test_there_are_constants_for_everything_in_both_tables() -> None:
    for table in SEVERITY.values():
        assert sorted(table) == sorted((*CORRUPTIONS, *EXTRA))
        assert all(len(five) == 5 for five in table.values())
    assert [len(zooms) for zooms in SEVERITY["imagenet-c"]["zoom_blur"]] == [12, 16, 11, 13, 11]  # as published
    assert corruption("contrast").constants(5) == (0.05,)
    assert corruption("contrast", "corrected").constants(5) == (0.05,)
    assert corruption("contrast", "cifar-c").constants(5) == (0.15,)
    alpha, sigma, move = corruption("elastic_transform").constants(2)
    assert (alpha * 224, sigma * 224, move * 224) == pytest.approx((488, 19.52, 48.8))
