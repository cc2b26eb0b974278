"""Blurs: defocus, motion, zoom and Gaussian; glass blur has its own file."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from torch import Tensor

from robustlab.core import Streams
from robustlab.corruptions.correlation import Kernel, correlate
from robustlab.corruptions.gaussian import gaussian
from robustlab.corruptions.kind import Draws, Kind, Shape
from robustlab.corruptions.motion import moved
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.suite import register
from robustlab.corruptions.zoom import enlarged


def gaussian_blur(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Blurs with a Gaussian; the edge pixel continues outside the image."""
    del draws
    (sigma,) = constants
    return gaussian(x, sigma)


def defocus_blur(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Blurs with a disk, as a lens out of focus does.

    The published disk is normalised before its edge is smoothed, so that some kernels do not sum to exactly one.
    """
    del draws
    return correlate(x, disk(*constants))


def defocus_blur_normalised(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Defocus blur that keeps the mean brightness: its disk sums to one."""
    del draws
    return correlate(x, disk(*constants, normalised=True))


@lru_cache(maxsize=32)
def disk(radius: float, sigma: float, *, normalised: bool = False) -> Kernel:
    """A disk with a smoothed edge, without the rows and columns that are empty.

    Args:
        radius: in pixels.
        sigma: of the Gaussian, three pixels wide (five above radius 8), that smooths the edge.
        normalised: makes the smoothed disk sum to one, too.

    Returns: weights, an odd number of rows and columns.
    """
    half, reach = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    inside = (rows**2 + columns**2 <= radius**2).astype(float)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    smooth = inside / inside.sum()
    for axis in (0, 1):
        padded = np.pad(smooth, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="reflect")
        smooth = np.apply_along_axis(np.convolve, axis, padded, weights, mode="valid")
    extent = int(np.abs(rows[smooth > 1e-9]).max())
    smooth = smooth[half - extent : half + extent + 1, half - extent : half + extent + 1]
    return tuple(tuple(row) for row in (smooth / smooth.sum() if normalised else smooth).tolist())


def disk_width(constants: Constants) -> int:
    """Width of the disk in pixels."""
    return len(disk(*constants))


def draw_tilt(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Directions (N,), uniform in -45 to 45 degrees."""
    del shape, constants
    return (streams.uniform(()) * 90 - 45,)


def motion_blur(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Blurs along a direction (N,) in degrees."""
    (radius, sigma), (degrees,) = constants, draws
    return moved(x, degrees, radius, sigma)


def zoom_blur(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """The mean of the image and its enlargements, as of a camera that zooms in."""
    del draws
    return _mean_of_zooms(x, constants, dark_edge=True)


def zoom_blur_to_the_edge(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Zoom blur without black last rows and columns at any size."""
    del draws
    return _mean_of_zooms(x, constants, dark_edge=False)


def _mean_of_zooms(x: Tensor, zooms: Constants, *, dark_edge: bool) -> Tensor:
    total = x.clone()
    for zoom in zooms:
        total += enlarged(x, zoom, dark_edge=dark_edge)[:, :, : x.shape[2], : x.shape[3]]
    return total.div_(len(zooms) + 1)


register(
    Kind("defocus_blur", "blur", defocus_blur, corrected=defocus_blur_normalised, smallest=disk_width),
    Kind("motion_blur", "blur", motion_blur, draw_tilt),
    Kind("zoom_blur", "blur", zoom_blur, corrected=zoom_blur_to_the_edge),
    Kind("gaussian_blur", "extra", gaussian_blur),
)
