"""Noise in every value: Gaussian, shot, impulse and speckle noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustlab.core import Streams
from robustlab.corruptions.kind import Draws, Kind, Shape
from robustlab.corruptions.poisson import poisson_counts
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.suite import register


def draw_normal(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Standard normal numbers (N, C, H, W) by the Box-Muller transform.

    In float32 and from 24 random bits, unlike ``Streams.normal``: the difference vanishes in eight bits, and the draws
    take most of the time.
    """
    del constants
    count = math.prod(shape)
    u = streams.uniform((2, (count + 1) // 2))
    radius = torch.log1p(-u[:, 0]).mul_(-2).sqrt_()
    angle = u[:, 1].mul_(2 * math.pi)
    both = torch.cat([angle.cos().mul_(radius), angle.sin().mul_(radius)], dim=1)
    return (both[:, :count].reshape(-1, *shape),)


def draw_uniform(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Numbers (N, C, H, W), uniform in [0, 1)."""
    del constants
    return (streams.uniform(shape),)


def gaussian_noise(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Adds Gaussian noise: x + sigma n, with n (N, C, H, W) standard normal."""
    (sigma,), (noise,) = constants, draws
    return torch.add(x, noise, alpha=sigma)


def speckle_noise(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Adds Gaussian noise in proportion to the value: x + x sigma n, with n (N, C, H, W) standard normal."""
    (sigma,), (noise,) = constants, draws
    return torch.addcmul(x, x, noise, value=sigma)


def shot_noise(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Counts photons: a Poisson number of mean ``c x``, divided by c; u (N, C, H, W) is its quantile."""
    (photons,), (u,) = constants, draws
    return poisson_counts(x, u, photons).to(x.dtype).mul_(1 / photons)


def impulse_noise(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Sets a fraction a of the values to one or zero, with equal probability.

    A value becomes one where u < a / 2, and zero where a / 2 <= u < a, with u (N, C, H, W) uniform in [0, 1).
    """
    (amount,), (u,) = constants, draws
    return x.masked_fill(u < amount, 0).masked_fill_(u < amount / 2, 1)


register(
    Kind("gaussian_noise", "noise", gaussian_noise, draw_normal),
    Kind("shot_noise", "noise", shot_noise, draw_uniform),
    Kind("impulse_noise", "noise", impulse_noise, draw_uniform),
    Kind("speckle_noise", "extra", speckle_noise, draw_normal),
)
