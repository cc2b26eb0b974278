"""Weather, colours, elastic deformation and spatter against pictures that the original code made."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import RandomState
from torch import Tensor

from robustlab.core import Streams
from robustlab.corruptions import SEVERITY, corruption
from robustlab.corruptions.elastic import elastic_transform
from robustlab.corruptions.frost import draw_frost, frost
from robustlab.corruptions.kind import cut
from robustlab.corruptions.spatter import spatter
from robustlab.corruptions.weather import fog, snow, snow_in_full

PHOTOGRAPH = "astronaut_96x136"
REFERENCE = Path(__file__).parent / "reference"
ORIGINAL: dict[str, int] = json.loads((REFERENCE / "seeds_original.json").read_text())
CONSTANTS = SEVERITY["imagenet-c"]
COLOURS = [*(("brightness", s) for s in (1, 3, 5)), *(("saturate", s) for s in (1, 2, 3, 5))]


def levels_apart(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) * 255).abs().round()


def standard(random: RandomState, size: tuple[int, int], mean: float, deviation: float) -> Tensor:
    """Standard normal numbers (1, H, W) from a generator that makes others."""
    return torch.from_numpy((random.normal(size=size, loc=mean, scale=deviation) - mean) / deviation)[None]


@pytest.mark.parametrize(("name", "severity"), COLOURS)
def test_colours_are_within_one_level_of_those_by_hsv(
    picture: Callable[[str], Tensor], name: str, severity: int
) -> None:
    ours = corruption(name)(picture(f"inputs/{PHOTOGRAPH}"), severity=severity)
    away = levels_apart(ours, picture(f"exact/{PHOTOGRAPH}/{name}_{severity}"))
    assert away.max() <= 1
    assert away.mean() < (0.15 if (name, severity) == ("saturate", 3) else 0.02)  # a factor of 2: ties


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_fog_is_one_level_of_the_original(
    picture: Callable[[str], Tensor], seeds: dict[str, int], severity: int
) -> None:
    side = 256  # the next power of two of 136
    noise = RandomState(seeds[f"fog_{severity}"]).uniform(-1, 1, side * side - 1)
    ours = cut(fog(picture(f"inputs/{PHOTOGRAPH}"), (torch.from_numpy(noise)[None],), CONSTANTS["fog"][severity - 1]))
    away = levels_apart(ours, picture(f"seeded/{PHOTOGRAPH}/fog_{severity}"))
    assert away.max() <= 1
    assert away.mean() < 0.001


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_spatter_differs_in_less_than_a_hundredth_of_a_percent_of_the_pixels(
    picture: Callable[[str], Tensor], seeds: dict[str, int], severity: int
) -> None:
    constants = CONSTANTS["spatter"][severity - 1]
    noise = standard(RandomState(seeds[f"spatter_{severity}"]), (96, 136), *constants[:2])
    ours = cut(spatter(picture(f"inputs/{PHOTOGRAPH}"), (noise,), constants))
    away = levels_apart(ours, picture(f"seeded/{PHOTOGRAPH}/spatter_{severity}"))
    assert away.max() <= 1
    assert away.mean() < 0.001


def drawn_snow(seed: int, size: tuple[int, int], severity: int) -> tuple[Tensor, Tensor]:
    random = RandomState(seed)
    flakes = standard(random, size, *CONSTANTS["snow"][severity - 1][:2])
    return flakes, torch.tensor([random.uniform(-135, -45)])


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_snow_is_one_level_of_that_of_imagemagick(picture: Callable[[str], Tensor], severity: int) -> None:
    draws = drawn_snow(ORIGINAL[f"snow_{severity}"], (224, 224), severity)
    ours = cut(snow(picture("inputs/chelsea"), draws, CONSTANTS["snow"][severity - 1]))
    away = levels_apart(ours, picture(f"seeded_original/chelsea/snow_{severity}"))
    assert away.max() <= 1
    assert away.mean() < 0.001


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_snow_without_cuts_is_one_level_of_the_other_original(
    picture: Callable[[str], Tensor], seeds: dict[str, int], severity: int
) -> None:
    draws = drawn_snow(seeds[f"snow_{severity}"], (96, 136), severity)
    ours = cut(snow_in_full(picture(f"inputs/{PHOTOGRAPH}"), draws, CONSTANTS["snow"][severity - 1]))
    away = levels_apart(ours, picture(f"seeded/{PHOTOGRAPH}/snow_{severity}"))
    assert away.max() <= 1
    assert away.mean() < 0.2  # it rounds to 8 bits after the motion


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_elastic_deformation_is_one_level_of_the_original(picture: Callable[[str], Tensor], severity: int) -> None:
    constants, random = (
        CONSTANTS["elastic_transform"][severity - 1],
        RandomState(ORIGINAL[f"elastic_transform_{severity}"]),
    )
    largest = constants[2] * 224
    points = random.uniform(-largest, largest, (3, 2)).astype(np.float32) / largest
    noise = np.stack([random.uniform(-1, 1, (224, 224)) for _ in range(2)])
    draws = torch.from_numpy(points)[None].double(), torch.from_numpy(noise)[None]
    ours = cut(elastic_transform(picture("inputs/chelsea"), draws, constants))
    away = levels_apart(ours, picture(f"seeded_original/chelsea/elastic_transform_{severity}"))
    assert away.max() <= 1
    assert away.mean() < 0.002


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_frost_blends_as_the_original(picture: Callable[[str], Tensor], severity: int) -> None:
    piece = picture(f"inputs/frost_piece_{severity}")
    ours = cut(frost(picture("inputs/chelsea")[..., :112, :112], (piece,), CONSTANTS["frost"][severity - 1]))
    away = levels_apart(ours, picture(f"seeded_original/chelsea_corner/frost_{severity}"))
    assert away.max() <= 1
    assert away.mean() < 0.03  # sums of sevenths that are whole levels


@pytest.mark.slow
def test_synthetic_frost_has_the_statistics_of_the_photographs(picture: Callable[[str], Tensor]) -> None:
    similarity = pytest.importorskip("skimage.metrics").structural_similarity
    stored = json.loads((REFERENCE / "stats_frost.json").read_text())
    x, order = picture("inputs/chelsea"), []
    for severity in range(1, 6):
        made = [blended(x, severity, piece)[0] for piece in four_of_each(severity)]
        theirs = {key: torch.tensor(value) for key, value in stored[str(severity)].items()}
        assert mean_of(made, lambda one: one.mean((1, 2))).sub(theirs["mean"]).abs().max() < 0.05
        assert mean_of(made, lambda one: one.std((1, 2))).sub(theirs["std"]).abs().max() < 0.05
        ratio = mean_of(made, lambda one: -10 * torch.log10((one - x[0]).square().mean()))
        assert (ratio - theirs["psnr"]).abs() < 1
        alike = mean_of(
            made, lambda one: torch.tensor(similarity(x[0].numpy(), one.numpy(), channel_axis=0, data_range=1.0))
        )
        assert (alike - theirs["ssim"]).abs() < 0.05
        assert mean_of(made, lambda one: rings(one.mean(0))).sub(theirs["log10_psd"]).abs().max() < 0.3
        order.append((float(alike), float(theirs["ssim"])))
    assert all(a[0] > b[0] and a[1] > b[1] for a, b in pairwise(order))


def mean_of(images: list[Tensor], measured: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.stack([measured(image) for image in images]).mean(0)


def blended(x: Tensor, severity: int, piece: Tensor) -> Tensor:
    return cut(frost(x, (piece[None],), CONSTANTS["frost"][severity - 1]))


def four_of_each(severity: int) -> list[Tensor]:
    """Pieces of all five textures in equal number."""
    ids = torch.arange(60)
    which = Streams(severity, ids).integers(5)
    chosen = torch.cat([ids[which == texture][:4] for texture in range(5)])
    (pieces,) = draw_frost(Streams(severity, chosen), (3, 224, 224), CONSTANTS["frost"][severity - 1])
    assert pieces.shape == (20, 3, 224, 224)
    return list(pieces)


def rings(grey: Tensor) -> Tensor:
    """Logarithm of the mean power in 16 rings up to half a cycle per pixel (16,)."""
    power = torch.fft.fft2(grey - grey.mean()).abs().square() / grey.numel()
    down, across = (torch.fft.fftfreq(side, dtype=torch.float64) for side in grey.shape)
    ring = (torch.hypot(down[:, None], across) * 32).long().clamp(max=16).flatten()
    sums = torch.zeros(17).index_add_(0, ring, power.flatten())
    return torch.log10(sums / torch.bincount(ring, minlength=17))[:16]
