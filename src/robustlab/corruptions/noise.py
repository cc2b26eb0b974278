"""Noise in every value: Gaussian, shot, impulse and speckle noise."""

from __future__ import annotations

from torch import Tensor

from robustlab.core import Streams
from robustlab.corruptions.kind import Draws, Kind, Shape
from robustlab.corruptions.severity import Constants


def draw_normal(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Standard normal numbers (N, C, H, W)."""
    del constants
    return (streams.normal(shape),)


def gaussian_noise(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Adds Gaussian noise: x + sigma n, with n (N, C, H, W) standard normal."""
    (sigma,), (noise,) = constants, draws
    return x + noise * sigma


KINDS = (Kind("gaussian_noise", "noise", gaussian_noise, draw_normal),)
