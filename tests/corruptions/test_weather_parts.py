"""Colours, smoothing, motion, fog, edges and frost against closed forms, other libraries and plain code."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from robustlab.core import Streams
from robustlab.corruptions import VARIANTS, corruption
from robustlab.corruptions.colour import brightness, saturate
from robustlab.corruptions.edges import canny, distance
from robustlab.corruptions.elastic import elastic_transform
from robustlab.corruptions.frost import SIDE, draw_frost, textures
from robustlab.corruptions.gaussian import Border, gaussian
from robustlab.corruptions.kind import Apply
from robustlab.corruptions.motion import moved
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.spatter import spatter
from robustlab.corruptions.weather import draw_fog, plasma

Change: TypeAlias = Callable[[float, float, float], tuple[float, float, float]]
HSV: list[tuple[Apply, Constants, Change]] = [
    (brightness, (0.3,), lambda h, s, v: (h, s, min(v + 0.3, 1))),
    (saturate, (0.1, 0), lambda h, s, v: (h, 0.1 * s, v)),
    (saturate, (5, 0.1), lambda h, s, v: (h, min(5 * s + 0.1, 1), v)),
]


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("ours", "constants", "changed"), HSV)
def test_colours_change_as_in_hsv(ours: Apply, constants: Constants, changed: Change) -> None:
    x = torch.cat([uniform(1, 3, 6, 6), torch.tensor([0.0, 0.4, 1.0]).double().view(1, 1, 3, 1).expand(1, 3, 3, 6)], 2)
    out = ours(x, (), constants)
    for i in range(9):
        for j in range(6):
            expected = colorsys.hsv_to_rgb(*changed(*colorsys.rgb_to_hsv(*x[0, :, i, j].tolist())))
            assert out[0, :, i, j].tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("sigma", "truncate"), [(0.7, 4.0), (3.0, 3.0), (40.0, 3.0)])
@pytest.mark.parametrize("border", ["nearest", "reflect"])
def test_smoothing_is_that_of_scipy(sigma: float, truncate: float, border: Border) -> None:
    x = uniform(1, 2, 17, 30)
    expected = ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode=border, truncate=truncate)
    assert np.abs(gaussian(x, sigma, truncate=truncate, border=border).numpy() - expected).max() < 1e-12
    assert torch.equal(gaussian(x, 0), x)


@pytest.mark.parametrize(("angle", "across", "down"), [(0.0, 1, 0), (90.0, 0, 1), (-90.0, 0, -1)])
def test_motion_leaves_a_fading_trail(angle: float, across: int, down: int) -> None:
    x = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    x[..., 10, 10] = 1
    trail = moved(x, torch.tensor([angle]), 2, 1.5)[0, 0]
    long = [float(trail[10 - i * down, 10 - i * across]) for i in range(5)]
    weights = np.exp(-(np.arange(5) ** 2) / (2 * 1.5**2))
    assert long == pytest.approx((weights / weights.sum()).tolist())
    assert trail.sum() == pytest.approx(1)


def test_fog_is_made_level_by_level_on_a_torus() -> None:
    (noise,) = draw_fog(Streams(0, torch.arange(2)), (3, 4, 3), (1.5, 2.0))
    assert noise.shape == (2, 15)
    map_ = np.zeros((4, 4))
    numbers, step, size = iter(noise[1].double().tolist()), 4, 100.0
    while step > 1:
        half = step // 2
        for places, steps in ((((half, half),), ((-1, -1), (-1, 1), (1, -1), (1, 1))), (((0, half), (half, 0)), None)):
            for start in places:
                for i in range(start[0], 4, step):
                    for j in range(start[1], 4, step):
                        around = steps or ((0, 1), (1, 0), (0, -1), (-1, 0))
                        mean = sum(map_[(i + half * a) % 4, (j + half * b) % 4] for a, b in around) / 4
                        map_[i, j] = mean + next(numbers) * size**2
        step, size = half, size / 2
    expected = (map_ - map_.min()) / (map_.max() - map_.min())
    assert np.abs(plasma(noise.double(), 2.0)[1].numpy() - expected).max() < 1e-12


def test_fog_needs_noise_for_a_square_whose_side_is_a_power_of_two() -> None:
    with pytest.raises(ValueError, match=r"S a power of two, got \(1, 8\)"):
        plasma(torch.zeros(1, 8), 2.0)


def test_black_stays_black_in_fog() -> None:
    assert corruption("fog")(torch.zeros(1, 3, 8, 8), severity=5).max() == 0


def test_distances_are_those_over_the_moves_of_the_chamfer() -> None:
    edges = uniform(3, 27, 45, seed=1) < torch.tensor([0.002, 0.01, 0.0])[:, None, None]
    out = distance(edges, far=20)
    costs = torch.tensor([1, 1.4, 2.1969], dtype=torch.float64)
    for image, ours in zip(edges[:2], out[:2], strict=True):
        places = torch.stack(torch.meshgrid(torch.arange(27), torch.arange(45), indexing="ij"), -1)
        apart = (places[:, :, None] - image.nonzero()).abs().double().sort(-1).values
        small, large = apart.unbind(-1)
        flat = costs[2] * small + costs[0] * (large - 2 * small)
        steep = costs[2] * (large - small) + costs[1] * (2 * small - large)
        expected = torch.where(large >= 2 * small, flat, steep).amin(-1).clamp(max=20)
        assert (ours / 1000 - expected).abs().max() < 0.001
    assert (out[2] == 20_000).all()


def test_edges_are_thin_and_weak_ones_need_a_strong_one() -> None:
    x = torch.zeros(2, 20, 20)
    x[:, 3:9, 3:12] = 200
    x[:, 9:15, 3:12] = torch.tensor([20.0, 0.0])[:, None, None]  # weak, and joined to the strong rectangle
    x[:, 16:19, 14:18] = 20  # weak and alone
    edges = canny(x, low=50, high=150)
    assert not edges[:, 15:, 13:].any()
    assert edges[0, 14, 4:11].any()
    assert not edges[1, 11:].any()
    assert (edges[:, :, 7].sum(1) <= torch.tensor([3, 2])).all()
    assert edges[1, :, 7].nonzero()[:, 0].tolist() == [2, 8]


def test_an_image_without_drops_stays_as_it_is() -> None:
    x, dry = uniform(1, 3, 9, 9), torch.full((1, 9, 9), -5.0)
    for constants in ((0.65, 0.3, 4, 0.69, 0.6, 0), (0.65, 0.3, 1, 0.65, 1.5, 1)):
        assert torch.equal(spatter(x, (dry,), constants), x)


def test_points_move_by_the_draws_and_pixels_by_the_field() -> None:
    x = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    x[..., 12, 20] = 1
    still = torch.zeros(1, 2, 31, 31, dtype=torch.float64)
    points = torch.tensor([3.0, -2.0]).double().expand(1, 3, 2) / 31
    assert elastic_transform(x, (points, still), (0, 0, 1)).nonzero().tolist() == [[0, 0, 10, 23]]
    across = torch.stack([torch.ones(31, 31), torch.zeros(31, 31)]).double()[None]
    out = elastic_transform(x, (torch.zeros_like(points), across), (5 / 31, 2 / 31, 1))
    assert out[..., 12, 15] == pytest.approx(1)
    assert out.sum() == pytest.approx(1)


@pytest.mark.parametrize(("name", "smallest"), [("elastic_transform", 3), ("spatter", 2)])
def test_images_that_are_too_small_are_refused(name: str, smallest: int) -> None:
    c = corruption(name)
    assert c(torch.zeros(1, 3, smallest, smallest), severity=1).shape == (1, 3, smallest, smallest)
    with pytest.raises(ValueError, match=f"{name} needs images of at least {smallest} x {smallest} pixels"):
        c(torch.zeros(1, 3, 9, smallest - 1), severity=1)


def test_frost_is_seamless_and_has_no_border() -> None:
    (pieces,) = draw_frost(Streams(0, torch.arange(8)), (3, SIDE + 40, 2 * SIDE), (1, 0.4, 1))
    assert torch.equal(pieces[..., :40, :], pieces[..., SIDE:, :])
    assert torch.equal(pieces[..., :SIDE], pieces[..., SIDE:])
    ice = textures(SIDE).float()
    for dim in (2, 3):
        steps = (ice - ice.roll(1, dim)).abs().mean(1).transpose(1, dim - 1).mean(2)
        assert (steps[:, 0] < 1.5 * steps.mean(1)).all()


def test_the_frost_of_small_images_is_small() -> None:
    (pieces,) = draw_frost(Streams(0, torch.arange(8)), (3, 32, 32), (1, 0.4, 0.2))
    (large,) = draw_frost(Streams(0, torch.arange(8)), (3, 32, 32), (1, 0.4, 1))
    assert pieces.shape == large.shape
    assert pieces.diff().abs().mean() > 1.5 * large.diff().abs().mean()


def test_five_textures_are_drawn_equally_often_from_anywhere() -> None:
    (pieces,) = draw_frost(Streams(0, torch.arange(500)), (3, 1, 1), (1, 0.4, 1))
    assert pieces.flatten(1).unique(dim=0).shape[0] > 400
    which = Streams(0, torch.arange(500)).integers(5).bincount(minlength=5)
    assert which.min() > 70


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_corruptions_of_the_original_are_comparable(variant: str) -> None:
    if variant != "imagecorruptions":
        assert not corruption("frost", variant).comparable  # type: ignore[arg-type]
    assert corruption("fog", variant).comparable == (variant != "corrected")  # type: ignore[arg-type]
