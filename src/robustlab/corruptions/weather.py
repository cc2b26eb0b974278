"""Snow and fog: layers of synthetic weather over the image."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from robustlab.core import Streams
from robustlab.corruptions.kind import Draws, Kind, Shape
from robustlab.corruptions.motion import moved
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.suite import register
from robustlab.corruptions.zoom import enlarged

_LUMA = (0.299, 0.587, 0.114)
_ROUGHNESS = 100.0
SMALL = 32
"""Longer side of images, in pixels, up to which the code of ImageNet-C was never run: "cifar-c" is for those."""


def draw_snow(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Standard normal numbers (N, H, W) for the flakes, and their direction (N,) in degrees."""
    del constants
    return streams.normal(shape[1:], 0), streams.uniform((), 1, dtype=torch.float64) * 90 - 135


def snow(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Whitens the image and adds falling flakes, once unchanged and once rotated by 180 degrees.

        b x + (1 - b) max(x, 1.5 grey + 0.5) + layer + turned layer

    Args:
        x: images (N, C, H, W).
        draws: from ``draw_snow``.
        constants: mean and standard deviation of the noise, zoom, threshold, radius and sigma of the motion, and b.

    Source: the code of ImageNet-C. Its flakes are cut to the image and to 8 bits before they move, and from 16 to 8
    bits after. It was run on 224 x 224 pixels; on small images, see ``SMALL``, the flakes move as a whole.
    """
    return _snowed(x, draws, constants, whole=max(x.shape[2:]) <= SMALL)


def snow_of_cifar(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Snow with flakes cut to the image before they move at any size, as in the code of CIFAR-C."""
    return _snowed(x, draws, constants, whole=False)


def _snowed(x: Tensor, draws: Draws, constants: Constants, *, whole: bool) -> Tensor:
    noise, angles = draws
    layer = _flakes(noise.to(x.dtype), constants)
    layer = (layer if whole else _middle(layer, x)).mul(255).floor_()
    layer = moved(layer, angles, *constants[4:6]).mul_(257).round_().div_(257).floor_()
    return _under_flakes(x, layer.div_(255), constants[6])


def _middle(layer: Tensor, x: Tensor) -> Tensor:
    """The part of a layer (N, 1, H, W) over the image, with equal margins on both sides."""
    (height, width), extra = (
        x.shape[2:],
        [(own - side) // 2 for own, side in zip(layer.shape[2:], x.shape[2:], strict=True)],
    )
    return layer[:, :, extra[0] : extra[0] + height, extra[1] : extra[1] + width]


def snow_in_full(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Snow without the cuts to the image and to 8 bits before and after the motion; otherwise as in ``snow``."""
    noise, angles = draws
    return _under_flakes(x, moved(_flakes(noise.to(x.dtype), constants), angles, *constants[4:6]), constants[6])


def snow_after_motion(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Snow of the library imagecorruptions: rounded to 8 bits and cut to the image only after the motion."""
    noise, angles = draws
    layer = moved(_flakes(noise.to(x.dtype), constants), angles, *constants[4:6])
    return _under_flakes(x, layer.mul_(255).round_().div_(255), constants[6])


def snow_version(variant: str, side: int) -> int:
    """Version of snow: 2 where flakes are now cut to the image before they move."""
    return 2 if variant == "cifar-c" or (variant == "imagenet-c" and side > SMALL) else 1


def _flakes(noise: Tensor, constants: Constants) -> Tensor:
    """Resting flakes (N, 1, H, W) or a little larger, in [0, 1], from standard normal numbers (N, H, W)."""
    mean, deviation, zoom, threshold = constants[:4]
    layer = enlarged((noise * deviation + mean)[:, None], zoom)
    return torch.where(layer < threshold, 0, layer).clamp_(0, 1)


def _under_flakes(x: Tensor, layer: Tensor, fraction: float) -> Tensor:
    """Whitened images under the upper left part of the flakes, once unchanged and once rotated by 180 degrees."""
    layer = layer[:, :, : x.shape[2], : x.shape[3]]
    grey = x if x.shape[1] == 1 else torch.einsum("nchw,c->nhw", x, x.new_tensor(_LUMA))[:, None]
    whitened = fraction * x + (1 - fraction) * torch.maximum(x, grey * 1.5 + 0.5)
    return whitened + (layer + layer.flip(2, 3))


def draw_fog(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Numbers uniform in [-1, 1) (N, S^2 - 1) in the order of ``plasma``; S as in ``map_side``."""
    del constants
    return (streams.uniform((map_side(shape) ** 2 - 1,)).mul_(2).sub_(1),)


def map_side(shape: Shape) -> int:
    """The side of the map of the fog: the next power of two of the longer side of the image, at least 2."""
    return 1 << max(1, (max(shape[1:]) - 1).bit_length())


def fog(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Adds c times a fractal, and scales back by the maximum m of the image: (x + c f) m / (m + c).

    Args:
        x: images (N, C, H, W).
        draws: from ``draw_fog``.
        constants: c, and the decay of the roughness of the fractal.
    """
    strength, decay = constants
    (noise,) = draws
    height, width = x.shape[2:]
    map_ = plasma(noise.to(x.dtype), decay)[:, None, :height, :width]
    brightest = x.amax(dim=(1, 2, 3), keepdim=True)
    return torch.add(x, map_, alpha=strength).mul_(brightest / (brightest + strength))


def plasma(noise: Tensor, decay: float) -> Tensor:
    """Cloudy maps (N, S, S) from 0 to 1 by the diamond-square algorithm on a torus.

    Each new point is the mean of its four neighbours, plus uniform noise with an amplitude that starts at ``100 * 100``
    and is divided by ``decay`` squared at every halving of the distance.

    Args:
        noise: uniform in [-1, 1), (N, S^2 - 1), in the order of the source: per level the middles of the squares, then
            the middles of their upper sides, then of their left sides.
        decay: of the roughness, > 0.

    Source: the code of ImageNet-C, where the roughness is squared by accident.
    """
    side = math.isqrt(noise.shape[1] + 1)
    if side * side != noise.shape[1] + 1 or side & (side - 1):
        raise ValueError(f"noise must be (N, S^2 - 1) with S a power of two, got {tuple(noise.shape)}")
    map_ = noise.new_zeros(noise.shape[0], side, side)
    step, roughness, blocks = side, _ROUGHNESS, _blocks(noise)
    while step >= 2:
        corners, half = map_[:, ::step, ::step], step // 2
        size = roughness * roughness
        down = corners + corners.roll(-1, 1)
        middles = (down + down.roll(-1, 2)).div_(4).add_(next(blocks), alpha=size)
        map_[:, half::step, half::step] = middles
        right = corners + corners.roll(-1, 2)
        upper = right.add_(middles).add_(middles.roll(1, 1)).div_(4).add_(next(blocks), alpha=size)
        left = down.add_(middles).add_(middles.roll(1, 2)).div_(4).add_(next(blocks), alpha=size)
        map_[:, ::step, half::step], map_[:, half::step, ::step] = upper, left
        step, roughness = half, roughness / decay
    low, high = (end(map_, dim=(1, 2), keepdim=True) for end in (torch.amin, torch.amax))
    return map_.sub_(low).div_(high - low)


def _blocks(noise: Tensor) -> Iterator[Tensor]:
    """The noise in squares (N, s, s): three for each s = 1, 2, 4, ..."""
    start, side = 0, 1
    while start < noise.shape[1]:
        for _ in range(3):
            yield noise[:, start : start + side * side].view(-1, side, side)
            start += side * side
        side *= 2


register(
    Kind(
        "snow",
        "weather",
        snow,
        draw_snow,
        corrected=snow_in_full,
        others=(("cifar-c", snow_of_cifar), ("imagecorruptions", snow_after_motion)),
        version=snow_version,
    ),
    Kind("fog", "weather", fog, draw_fog, portions=4),
)
