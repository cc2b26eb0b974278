"""Corruptions by name: the fifteen of the benchmark in their published order, and the four extra ones."""

from __future__ import annotations

from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.corruptions.kind import Family, Kind

CORRUPTIONS: tuple[str, ...] = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""The fifteen corruptions of the mean corruption error."""
EXTRA: tuple[str, ...] = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""Four more, published for the choice of hyper-parameters, so that the fifteen stay unused."""

KINDS: Registry[Kind] = Registry(
    "corruption", "robustlab.corruptions", "robustlab.corruptions", first=(*CORRUPTIONS, *EXTRA)
)
"""Functions and settings of every corruption, by name."""


@typed
def register(*kinds: Kind) -> None:
    """Adds corruptions, each under its own name.

    Raises: ValueError if a name is taken.
    """
    for kind in kinds:
        KINDS.register(kind.name, kind)


def names() -> tuple[str, ...]:
    """Names of all corruptions: the fifteen, the four extra ones, then those that were added."""
    return KINDS.names()


@typed
def family(name: str) -> Family:
    """The family of a corruption: noise, blur, weather, digital, extra, or own for one that was added.

    Raises: ValueError for an unknown name, with the nearest.
    """
    return KINDS.get(name).family
