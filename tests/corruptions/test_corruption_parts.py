"""Noise, blurs and digital corruptions against closed forms, other libraries and slow but plain code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.stats import poisson
from torch import Tensor

from robustlab.core import Streams
from robustlab.corruptions import Variant, corruption
from robustlab.corruptions.blur import disk
from robustlab.corruptions.correlation import correlate
from robustlab.corruptions.glass import copied, draw_moves, swapped
from robustlab.corruptions.jpeg import by_pillow, codec
from robustlab.corruptions.kind import cut
from robustlab.corruptions.poisson import poisson_counts
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.zoom import enlarged


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def eight_bits(*shape: int) -> Tensor:
    return (uniform(*shape) * 255).round() / 255


def test_cutting_truncates_but_keeps_whole_numbers() -> None:
    levels = torch.arange(256) / 255
    assert torch.equal(cut(levels), levels)
    assert torch.equal(cut(levels * (1 - 1e-6)), levels)
    assert torch.equal(cut((torch.arange(255) + 0.99) / 255), levels[:-1])
    assert torch.equal(cut((torch.arange(255) + 0.51) / 255, rounded=True), levels[1:])
    assert cut(torch.tensor([-0.2, 1.3])).tolist() == [0, 1]


@pytest.mark.parametrize("photons", [3.0, 60.0, 500.0])
def test_photon_counts_are_the_quantiles_of_scipy(photons: float) -> None:
    x, u = torch.arange(256).repeat(200).view(200, 256) / 255, uniform(200, 256)
    u[0], u[1] = 0, 1 - 2**-24
    mean = np.round(x.double().numpy() * 255) / 255 * photons
    counts = poisson_counts(x, u, photons)
    below = poisson.cdf(counts.numpy() - 1, mean)
    assert (below <= u.numpy() + 1e-12).all()
    assert (poisson.cdf(counts.numpy(), mean) >= u.numpy() - 1e-12).all()


def test_photon_counts_between_two_levels_have_the_right_mean_and_variance() -> None:
    x = torch.full((400_000,), 10.6 / 255)
    mean, n = 500 * 10.6 / 255, 400_000
    counts = poisson_counts(x, uniform(n), 500).double()
    assert abs(float(counts.mean()) - mean) < 4 * (mean / n) ** 0.5
    assert abs(float(counts.var()) / mean - 1) < 4 * (2 / n) ** 0.5


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_pixels_copied_and_swapped_at_once_are_as_one_after_another(reach: int) -> None:
    height, width, rounds = 17, 14, 2
    (moves,) = draw_moves(Streams(3, torch.arange(4)), (3, height, width), (0.7, reach, rounds))
    assert (int(moves.min()), int(moves.max())) == (-reach, reach - 1)
    taken, traded = copied(moves, height, width), swapped(moves, height, width)
    for row in range(4):
        for at_once, swaps in ((taken, False), (traded, True)):
            plain = one_after_another(moves[row], height, width, swaps=swaps)
            assert torch.equal(at_once[row].view(height, width), plain)
    assert torch.equal(traded.sort(1).values, torch.arange(height * width).expand(4, -1))


def one_after_another(moves: Tensor, height: int, width: int, *, swaps: bool) -> Tensor:
    """The loops of the definition, over the numbers of the pixels."""
    x, reach = torch.arange(height * width).view(height, width), (height - moves.shape[1]) // 2
    for one in moves:
        for i in range(height - 2 * reach):
            for j in range(width - 2 * reach):
                h, w, (right, down) = height - reach - i, width - reach - j, one[i, j].tolist()
                here, there = x[h, w].clone(), x[h + down, w + right].clone()
                x[h, w] = there
                if swaps:
                    x[h + down, w + right] = here
    return x


def test_a_disk_is_correlated_as_scipy_does() -> None:
    x, kernel = uniform(2, 3, 30, 41), disk(10, 0.5)
    expected = ndimage.correlate(x.double().numpy(), np.array(kernel)[None, None], mode="mirror")
    assert np.abs(correlate(x, kernel).numpy() - expected).max() < 1e-6
    lopsided = ((0.0, 0.0, 0.7), (0.0, 0.2, 0.0), (0.1, 0.0, 0.0))
    expected = ndimage.correlate(x.double().numpy(), np.array(lopsided)[None, None], mode="mirror")
    assert np.abs(correlate(x, lopsided).numpy() - expected).max() < 1e-6


def test_large_published_disks_brighten_and_the_normalised_ones_do_not() -> None:
    assert np.sum(disk(8, 0.5)) == pytest.approx(1.013, abs=1e-3)
    assert np.sum(disk(8, 0.5, normalised=True)) == pytest.approx(1, abs=1e-12)
    assert np.sum(disk(3, 0.1)) == pytest.approx(1, abs=1e-12)
    assert np.array(disk(0.3, 0.4)).shape == (3, 3)


@pytest.mark.parametrize(("side", "factor"), [(96, 1.11), (136, 1.21), (31, 1.3), (224, 1.05)])
def test_zooming_is_that_of_scipy_dark_edges_included(side: int, factor: float) -> None:
    x = 0.5 + uniform(1, 1, side, 40) / 2
    part = int(np.ceil(side / factor)), int(np.ceil(40 / factor))
    top, left = (side - part[0]) // 2, (40 - part[1]) // 2
    middle = x[0, 0, top : top + part[0], left : left + part[1]]
    expected = ndimage.zoom(middle.double().numpy(), factor, order=1)
    ours = enlarged(x, factor)[0, 0].numpy()
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() < 1e-5


def test_some_published_zoom_darkens_the_edge_and_the_corrected_one_does_not() -> None:
    white = torch.ones(1, 3, 96, 136)
    assert corruption("zoom_blur")(white, severity=5)[..., -1].max() < 0.99
    assert corruption("zoom_blur", "corrected")(white, severity=5).min() == 1


def coarse_by_pillow(x: Tensor, constants: Constants, back: Image.Resampling) -> Tensor:
    """An image (1, 1, H, W) made coarse in levels (H, W)."""
    (share,), image = constants, Image.fromarray((x[0, 0] * 255).round().byte().numpy())
    small = image.resize((int(image.width * share), int(image.height * share)), Image.Resampling.BOX)
    return torch.from_numpy(np.array(small.resize(image.size, back))).int()


def levels(x: Tensor) -> Tensor:
    return (x[0, 0] * 255).round().int()


BACK: list[tuple[Variant, Image.Resampling]] = [
    ("imagenet-c", Image.Resampling.BOX),
    ("imagecorruptions", Image.Resampling.NEAREST),
]


@pytest.mark.parametrize(("variant", "back"), BACK)
@pytest.mark.parametrize("size", [(31, 45), (28, 28), (100, 63), (224, 224)])
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_coarse_pixels_are_one_level_of_those_of_pillow(
    variant: Variant, back: Image.Resampling, size: tuple[int, int], severity: int
) -> None:
    x, c = eight_bits(1, 1, *size), corruption("pixelate", variant)
    away = levels(c(x, severity=severity)) - coarse_by_pillow(x, c.constants(severity), back)
    assert away.abs().max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("sides", [range(8, 100), pytest.param(range(100, 513), marks=pytest.mark.slow)], ids=str)
def test_coarse_pixels_are_those_of_pillow_at_every_side(sides: range) -> None:
    wrong = []
    for side in sides:
        x = eight_bits(1, 1, side, 4)
        for severity in range(1, 6):
            for variant, back in BACK:
                c = corruption("pixelate", variant)
                away = levels(c(x, severity=severity)) - coarse_by_pillow(x, c.constants(severity), back)
                if away.abs().max() > 1:
                    wrong.append((side, severity, variant))
    assert wrong == []


def test_the_two_published_codes_of_coarse_pixels_differ_where_an_edge_goes_through_a_pixel() -> None:
    x = torch.arange(28.0).repeat(28, 1)[None, None] / 255
    differ = [
        not torch.equal(*(corruption("pixelate", variant)(x, severity=severity) for variant, _ in BACK))
        for severity in range(1, 6)
    ]
    at_224 = torch.linspace(0, 1, 224).mul(255).round().div(255).repeat(224, 1)[None, None]
    same = [
        torch.equal(*(corruption("pixelate", variant)(at_224, severity=severity) for variant, _ in BACK))
        for severity in range(1, 6)
    ]
    assert any(differ)
    assert all(same)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_files_are_those_of_pillow_on_any_number_of_threads(channels: int) -> None:
    x, threads = eight_bits(3, channels, 19, 33), torch.get_num_threads()
    outcomes = []
    for count in (1, 2):
        torch.set_num_threads(count)
        outcomes.append(corruption("jpeg_compression")(x, severity=2))
    torch.set_num_threads(threads)
    assert torch.equal(*outcomes)
    pillow = torch.stack([by_pillow((image * 255).round().byte(), 18) for image in x])
    assert torch.equal((outcomes[0] * 255).round().byte(), pillow)
    assert (codec() is by_pillow) == (not hasattr(torch.ops.image, "encode_jpeg"))


def test_noise_on_a_constant_image_has_the_published_moments() -> None:
    x = torch.full((20, 3, 64, 64), 0.5)
    count = x.numel()
    gaussian = corruption("gaussian_noise", "corrected")(x, severity=1) - x
    assert abs(float(gaussian.mean())) < 5 * 0.08 / count**0.5
    assert float(gaussian.std()) == pytest.approx(0.08, rel=0.01)
    speckle = corruption("speckle_noise", "corrected")(x, severity=1) - x
    assert float(speckle.std()) == pytest.approx(0.15 / 2, rel=0.01)
    impulse = corruption("impulse_noise")(x, severity=5)
    for value in (0, 1):
        assert float((impulse == value).float().mean()) == pytest.approx(0.27 / 2, abs=5 * (0.135 / count) ** 0.5)
