"""Parts of a corruption: the random numbers that it draws, and their use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from robustlab.core import Streams
from robustlab.corruptions.severity import Constants, FiveSeverities

Shape: TypeAlias = tuple[int, int, int]
"""Channels, height and width of one image."""
Draws: TypeAlias = tuple[Tensor, ...]
"""Random numbers, each (N, ...): the first row of each belongs to the first image; empty without randomness."""
Draw: TypeAlias = Callable[[Streams, Shape, Constants], Draws]
"""Draws the random numbers for N images."""
Apply: TypeAlias = Callable[[Tensor, Draws, Constants], Tensor]
"""Corrupts images (N, C, H, W) in [0, 1], float32 or float64; what comes back may leave [0, 1] and is not yet cut;
or it is levels 0..255 in uint8."""
Family: TypeAlias = Literal["noise", "blur", "weather", "digital", "extra", "own"]


_SLACK = 2.0**-11  # of a level: more than what float32 loses, so that a whole number is not cut to the one below


def cut(x: Tensor, *, rounded: bool = False, out: Tensor | None = None) -> Tensor:
    """Clips images to [0, 1] and cuts them to 256 levels.

    Args:
        x: images, float32 or float64.
        rounded: rounds the values; else they are truncated, as in the published code.
        out: tensor for the result, of any float dtype; None: a new one.

    Returns: multiples of 1/255, like ``x``.
    """
    slack = x.new_tensor(0.5 if rounded else _SLACK)
    return torch.div(torch.add(slack, x, alpha=255).floor_().clamp_(0, 255), 255, out=out)


def no_draws(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Draws of a corruption without randomness: none."""
    del streams, shape, constants
    return ()


def first_version(variant: str, side: int) -> int:
    """The version of a corruption with unchanged images."""
    del variant, side
    return 1


def any_side(constants: Constants) -> int:
    """The smallest side of an image for a corruption that works at any size."""
    del constants
    return 1


@dataclass(frozen=True)
class Kind:
    """One corruption, without severity and variant.

    Drawing and applying are separate, so that tests can use other random numbers. Both treat every image separately.
    """

    name: str
    family: Family
    apply: Apply
    draw: Draw = no_draws
    corrected: Apply | None = None
    """Function of the variant "corrected", where the original has a fault."""
    colour: bool = False
    """True if it needs three channels: grey images are passed as three equal ones, and converted back."""
    smallest: Callable[[Constants], int] = any_side
    """The smallest side that an image may have."""
    comparable: bool = True
    """True if results are comparable with published ones; not where a part of the original is missing."""
    others: tuple[tuple[str, Apply | None], ...] = ()
    """Functions of other variants, by name; None: they are not offered."""
    version: Callable[[str, int], int] = first_version
    """Number of the version of a variant on images whose longer side is given: of another, results are not the same."""
    constants: FiveSeverities | None = None
    """Constants at severities 1 to 5, for a corruption outside the published tables."""
    portions: int = 1
    """Number of images to corrupt at once, in multiples of those that fit the cache."""
