"""Properties of every corruption, in every variant."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from robustlab.core import Streams
from robustlab.corruptions import CORRUPTIONS, EXTRA, VARIANTS, Corrupt, corruption, family
from robustlab.corruptions.suite import KINDS

ALL = [
    corruption(name, variant)
    for name in KINDS
    for variant in VARIANTS
    if variant != "imagecorruptions" or name in {"pixelate", "snow"}  # all others are as in "imagenet-c"
]
PUBLISHED = [c for c in ALL if c.variant == "imagenet-c"]


DRAWS_NOTHING = {
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "gaussian_blur", "saturate"
}  # fmt: skip
RANDOM = [c for c in PUBLISHED if c.name not in DRAWS_NOTHING]


def draws(c: Corrupt) -> tuple[Tensor, ...]:
    return tuple(c.kind.draw(Streams(0, torch.arange(1)), (3, 32, 32), c.constants(3)))


def has_noise_per_channel(c: Corrupt) -> bool:
    return c.name == "frost" or any(part.shape[1:2] == (3,) for part in draws(c))


def label(c: object) -> str | None:
    return f"{c.name}-{c.variant}" if isinstance(c, Corrupt) else None


def photographs(count: int = 3, height: int = 33, width: int = 38, channels: int = 3) -> Tensor:
    """Smooth images in 256 levels with something of everything: edges, gradients, black and white."""
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    shift = torch.arange(count * channels).view(count, channels, 1, 1) / (count * channels)
    waves = 0.5 + 0.45 * torch.sin(7 * rows + 5 * columns + 6 * shift) * (rows < 0.8)
    waves[..., 3:9, 4:12], waves[..., -6:, :7] = 1, 0
    return (waves * 255).round() / 255


def test_corruptions_without_chance_are_those_that_draw_nothing() -> None:
    assert {c.name for c in PUBLISHED if not draws(c)} == DRAWS_NOTHING


@pytest.mark.parametrize("c", ALL, ids=label)
@pytest.mark.parametrize("channels", [1, 3])
def test_results_are_images_in_eight_bits(c: Corrupt, channels: int) -> None:
    x = photographs(channels=channels)
    for severity in (1, 5):
        out = c(x, severity=severity)
        assert (out.shape, out.dtype, out.requires_grad) == (x.shape, x.dtype, False)
        levels = out * 255
        assert ((levels - levels.round()).abs() < 1e-4).all()
        assert out.min() >= 0
        assert out.max() <= 1
        assert (out != x).any() or (c.name, channels) == ("saturate", 1)


@pytest.mark.parametrize("c", PUBLISHED, ids=label)
@pytest.mark.parametrize(("dtype", "levels"), [(torch.float64, 1e-4), (torch.float16, 0.07), (torch.bfloat16, 0.51)])
def test_other_dtypes_give_the_same_pictures_as_far_as_they_can_hold_them(
    c: Corrupt, dtype: torch.dtype, levels: float
) -> None:
    x = (photographs(2) * 255).round().div(64).floor().mul(64).div(256)  # multiples of 1/4: exact in every dtype
    out, expected = c(x.to(dtype), severity=2), c(x, severity=2)
    assert out.dtype == dtype
    apart = (out.double() * 255 - expected.double() * 255).abs()
    assert (apart > levels).float().mean() < 0.005


@pytest.mark.parametrize("c", ALL, ids=label)
def test_an_image_is_corrupted_alike_in_any_company(c: Corrupt) -> None:
    x, ids = photographs(3), torch.tensor([7, 1 << 40, 3])
    out = c(x, severity=4, seed=5, ids=ids)
    assert torch.equal(out, c(x, severity=4, seed=5, ids=ids))
    order = torch.tensor([2, 0, 1])
    for row in range(3):
        alone = c(x[row : row + 1], severity=4, seed=5, ids=ids[row : row + 1])
        assert ((alone - out[row]) * 255).abs().max() < 1.5  # batched sums may be rounded differently
        assert (alone != out[row]).float().mean() < 0.005
    assert ((c(x[order], severity=4, seed=5, ids=ids[order]) != out[order]).float().mean()) < 0.005


@pytest.mark.parametrize("c", RANDOM, ids=label)
def test_draws_follow_ids_and_seed(c: Corrupt) -> None:
    x = photographs(1).expand(2, -1, -1, -1)
    same, other = c(x, severity=5, ids=torch.tensor([4, 4])), c(x, severity=5, ids=torch.tensor([4, 5]))
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[0], other[0])
    assert (other[0] != other[1]).any()
    assert (c(x, severity=5, seed=1) != c(x, severity=5, seed=2)).any()
    assert torch.equal(c(x, severity=5), c(x, severity=5, ids=torch.arange(2)))


UNEVEN = {"elastic_transform", "frost", "glass_blur", "saturate", "snow", "spatter"}
"""Corruptions whose published constants do not all grow with severity."""


@pytest.mark.slow
@pytest.mark.parametrize("c", [c for c in ALL if c.name not in UNEVEN], ids=label)
def test_the_distance_grows_with_severity(picture: Callable[[str], Tensor], c: Corrupt) -> None:
    x = picture("inputs/chelsea")[..., 40:168:2, 40:168:2].expand(8, -1, -1, -1)
    distances = [float((c(x, severity=severity) - x).square().mean()) for severity in range(1, 6)]
    assert all(a < b for a, b in pairwise(distances)), distances


def global_state() -> list[object]:
    numbers = np.random.get_state(legacy=False)  # noqa: NPY002 -- the global generator is what is looked at
    return [torch.get_rng_state().tolist(), random.getstate(), repr(numbers)]


@pytest.mark.parametrize("c", ALL, ids=label)
def test_nothing_is_left_behind(c: Corrupt) -> None:
    x, state = photographs(2).requires_grad_(), global_state()
    before = x.detach().clone()
    c(x, severity=3)
    assert torch.equal(x, before)
    assert x.grad is None
    assert global_state() == state


@pytest.mark.parametrize("c", [c for c in PUBLISHED if c.kind.colour or not has_noise_per_channel(c)], ids=label)
def test_grey_equals_three_equal_channels_without_colour(c: Corrupt) -> None:
    grey = photographs(1, channels=1)
    coloured = c(grey.expand(-1, 3, -1, -1), severity=5)
    luma = (coloured * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    assert ((c(grey, severity=5) - luma) * 255).abs().max() < 1.01  # one level: cut before or after


@pytest.mark.parametrize("name", ["gaussian_blur", "fog", "pixelate"])
def test_layout_and_autocast_make_no_difference(name: str) -> None:
    x, c = photographs(2), corruption(name)
    expected = c(x, severity=2)
    assert torch.equal(c(x.contiguous(memory_format=torch.channels_last), severity=2), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(c(x, severity=2), expected)


def test_an_empty_batch_stays_empty() -> None:
    assert corruption("shot_noise")(torch.zeros(0, 3, 9, 9), severity=1).shape == (0, 3, 9, 9)


def test_the_fifteen_are_in_four_families_and_the_four_are_extra() -> None:
    found = [family(name) for name in CORRUPTIONS]
    assert found == ["noise"] * 3 + ["blur"] * 4 + ["weather"] * 4 + ["digital"] * 4
    assert [family(name) for name in EXTRA] == ["extra"] * 4
