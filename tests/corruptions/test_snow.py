"""Snow at full size against the published procedures, done once more in plain NumPy and SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from robustlab.corruptions import SEVERITY, Variant, corruption
from robustlab.corruptions.kind import cut
from robustlab.corruptions.severity import Constants

Layer = NDArray[np.float64]
_GREY = np.array([0.299, 0.587, 0.114])


def photograph(height: int, width: int) -> Tensor:
    """Waves in three colours (1, 3, H, W), in 256 levels."""
    down, across = torch.linspace(0, 5, height)[:, None], torch.linspace(0, 7, width)
    x = torch.stack([0.5 + 0.3 * torch.sin(down * k + across + k) for k in (1.0, 1.7, 2.3)])[None]
    return (x * 255).round() / 255


def enlarged(noise: Layer, zoom: float) -> Layer:
    """The middle of the noise, enlarged by SciPy."""
    parts = [math.ceil(side / zoom) for side in noise.shape]
    top, left = ((side - part) // 2 for side, part in zip(noise.shape, parts, strict=True))
    large: Layer = ndimage.zoom(noise[top : top + parts[0], left : left + parts[1]], (zoom, zoom), order=1)
    return large


def trail(layer: Layer, angle: float, radius: float, sigma: float) -> Layer:
    """The mean along a line from each pixel on, those at the edge repeated."""
    steps = np.arange(2 * int(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    out, (height, width) = np.zeros_like(layer), layer.shape
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        dy = math.ceil(step * math.sin(math.radians(angle)) - 0.5)
        dx = math.ceil(step * math.cos(math.radians(angle)) - 0.5)
        rows, columns = np.clip(np.arange(height) + dy, 0, height - 1), np.clip(np.arange(width) + dx, 0, width - 1)
        out += weight * layer[rows][:, columns]
    return out


def by_the_authors(layer: Layer, size: tuple[int, int], angle: float, c: Constants) -> Layer:
    """Cut to the image, in its middle, and to 8 bits; then moved, and cut to 8 bits."""
    top, left = ((own - side) // 2 for own, side in zip(layer.shape, size, strict=True))
    resting = np.floor(layer[top : top + size[0], left : left + size[1]] * 255)
    return np.floor(np.round(trail(resting, angle, *c[4:6]) * 257) / 257) / 255


def by_imagecorruptions(layer: Layer, size: tuple[int, int], angle: float, c: Constants) -> Layer:
    """Moved, rounded to 8 bits, and then the upper left of it."""
    return np.round(trail(layer, angle, *c[4:6]) * 255)[: size[0], : size[1]] / 255


def expected(x: Tensor, noise: Layer, angle: float, c: Constants, moved: Callable[..., Layer]) -> Layer:
    """The snowed image (H, W, 3) in levels of 255, before it is cut."""
    layer = enlarged(noise * c[1] + c[0], c[2])
    layer[layer < c[3]] = 0
    pixels = x[0].permute(1, 2, 0).double().numpy()
    flakes = moved(np.clip(layer, 0, 1), pixels.shape[:2], angle, c)[..., None]
    white = c[6] * pixels + (1 - c[6]) * np.maximum(pixels, (pixels @ _GREY)[..., None] * 1.5 + 0.5)
    snowed: Layer = np.clip(white + flakes + np.rot90(flakes, k=2), 0, 1) * 255
    return snowed


CASES: list[tuple[Variant, tuple[int, int], Callable[..., Layer]]] = [
    ("imagenet-c", (224, 224), by_the_authors),
    ("imagenet-c", (64, 64), by_the_authors),
    ("imagenet-c", (96, 137), by_the_authors),
    ("cifar-c", (32, 32), by_the_authors),
    ("cifar-c", (28, 28), by_the_authors),
    ("imagecorruptions", (224, 224), by_imagecorruptions),
    ("imagecorruptions", (61, 90), by_imagecorruptions),
]


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "size", "procedure"), CASES)
@pytest.mark.parametrize("angle", [-134.0, -100.0, -91.0, -80.0, -60.0, -46.0])
def test_the_whole_picture_is_one_level_of_the_published_procedure(
    variant: Variant, size: tuple[int, int], procedure: Callable[..., Layer], angle: float
) -> None:
    x, snow = photograph(*size), corruption("snow", variant)
    for severity in range(1, 6):
        noise, c = RandomState(severity).normal(size=size), snow.constants(severity)
        ours = cut(snow._apply(x.double(), (torch.from_numpy(noise)[None], torch.tensor([angle])), c))
        wanted = expected(x, noise, angle, c, procedure)
        away = (ours[0].permute(1, 2, 0).numpy() * 255 - wanted).clip(-255, 255)
        assert np.abs(away + 0.5).max() < 1.6
        assert (np.abs(away + 0.5) > 0.51).mean() < 0.001


@pytest.mark.parametrize("angle", [-100.0, -60.0])
def test_on_small_images_the_flakes_of_imagenet_c_move_as_a_whole_as_they_always_did(angle: float) -> None:
    snow, x = corruption("snow"), photograph(28, 28)
    for severity in range(1, 6):
        noise, c = RandomState(severity).normal(size=(28, 28)), SEVERITY["imagenet-c"]["snow"][severity - 1]
        layer = enlarged(noise * c[1] + c[0], c[2])
        layer[layer < c[3]] = 0
        resting = np.floor(np.clip(layer, 0, 1) * 255)
        whole = np.floor(np.round(trail(resting, angle, *c[4:6]) * 257) / 257)[:28, :28] / 255
        wanted = expected(x, noise, angle, c, lambda *_, whole=whole: whole)
        ours = cut(snow._apply(x.double(), (torch.from_numpy(noise)[None], torch.tensor([angle])), c))
        away = ours[0].permute(1, 2, 0).numpy() * 255 - wanted
        assert np.abs(away + 0.5).max() < 1.6
        assert (np.abs(away + 0.5) > 0.51).mean() < 0.01
