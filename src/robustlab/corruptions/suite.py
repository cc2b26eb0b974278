"""The corruptions by name: the fifteen of the benchmark in their published order, and the four extra ones."""

from __future__ import annotations

from robustlab.corruptions import colour, elastic, noise, weather
from robustlab.corruptions.kind import Family, Kind

CORRUPTIONS: tuple[str, ...] = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""The fifteen corruptions that the mean corruption error is about."""
EXTRA: tuple[str, ...] = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""Four more, published for choosing hyper-parameters, so that nothing is tuned on the fifteen."""

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*noise.KINDS, *weather.KINDS, *colour.KINDS, *elastic.KINDS)}


def family(name: str) -> Family:
    """The family of a corruption: noise, blur, weather, digital or extra."""
    return KINDS[name].family
