"""The constants of every corruption at severities 1 to 5, of ImageNet-C and of CIFAR-C.

Numbers are in pixels unless noted otherwise, and images are in [0, 1].

Source: Hendrycks, Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations,
ICLR 2019, and the code that made its data sets.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

Constants: TypeAlias = tuple[float, ...]
"""The numbers of one corruption at one severity."""
FiveSeverities: TypeAlias = tuple[Constants, Constants, Constants, Constants, Constants]
"""The constants of severities 1 to 5."""
Table: TypeAlias = Literal["imagenet-c", "cifar-c"]
"""Published data set of the constants."""

TABLES: tuple[Table, ...] = get_args(Table)


def _single(one: float, two: float, three: float, four: float, five: float) -> FiveSeverities:
    """Constants of a corruption that has one number."""
    return (one,), (two,), (three,), (four,), (five,)


def _zooms(*ranges: tuple[float, float]) -> FiveSeverities:
    """Zoom factors from 1 to below a stop, by a step; their number depends on rounding, as in the source."""
    one, two, three, four, five = (tuple(np.arange(1, stop, step).tolist()) for stop, step in ranges)
    return one, two, three, four, five


def _of_side(side: int, *rows: tuple[float, float, float]) -> FiveSeverities:
    """Lengths in pixels of images with a given side, as fractions of that side."""
    one, two, three, four, five = (tuple(length / side for length in row) for row in rows)
    return one, two, three, four, five


_IMAGENET_C: dict[str, FiveSeverities] = {
    # standard deviation
    "gaussian_noise": _single(0.08, 0.12, 0.18, 0.26, 0.38),
    # photons at full intensity
    "shot_noise": _single(60, 25, 12, 5, 3),
    # share of the values that are replaced
    "impulse_noise": _single(0.03, 0.06, 0.09, 0.17, 0.27),
    # standard deviation, times the value
    "speckle_noise": _single(0.15, 0.2, 0.35, 0.45, 0.6),
    # radius of the disk, sigma of the blur that smooths its edge
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    # sigma, largest move, rounds
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    # radius, sigma
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    # zoom factors
    "zoom_blur": _zooms((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    # sigma
    "gaussian_blur": _single(1, 2, 3, 4, 6),
    # mean and standard deviation of the flakes, zoom, threshold, radius and sigma of their motion, share of the image
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    # weight of the image, weight of the texture, size of the texture as a share of the photograph
    "frost": ((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
    # strength, decay of the roughness per level
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    # added to the value of HSV
    "brightness": _single(0.1, 0.2, 0.3, 0.4, 0.5),
    # mean and standard deviation of the drops, sigma, threshold, intensity of water or sigma of mud, 1 for mud
    "spatter": (
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ),
    # factor of the distance to the mean
    "contrast": _single(0.4, 0.3, 0.2, 0.1, 0.05),
    # strength, sigma and largest move of the three points of the affine map, as shares of the side
    "elastic_transform": _of_side(
        224, (488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)
    ),
    # size of the small image as a share
    "pixelate": _single(0.6, 0.5, 0.4, 0.3, 0.25),
    # quality
    "jpeg_compression": _single(25, 18, 15, 10, 7),
    # factor and summand of the saturation of HSV
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
}

_CIFAR_C: dict[str, FiveSeverities] = {
    "gaussian_noise": _single(0.04, 0.06, 0.08, 0.09, 0.1),
    "shot_noise": _single(500, 250, 100, 75, 50),
    "impulse_noise": _single(0.01, 0.02, 0.03, 0.05, 0.07),
    "speckle_noise": _single(0.06, 0.1, 0.12, 0.16, 0.2),
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": _zooms((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "gaussian_blur": _single(0.4, 0.6, 0.7, 0.8, 1),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "frost": ((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": _single(0.05, 0.1, 0.15, 0.2, 0.3),
    "spatter": (
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
    "contrast": _single(0.75, 0.5, 0.4, 0.3, 0.15),
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    "pixelate": _single(0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg_compression": _single(80, 65, 58, 50, 40),
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
}

SEVERITY: dict[Table, dict[str, FiveSeverities]] = {"imagenet-c": _IMAGENET_C, "cifar-c": _CIFAR_C}
"""Constants by data set, name and severity (number 0 is severity 1)."""
