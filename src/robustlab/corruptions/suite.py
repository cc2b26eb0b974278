"""The corruptions by name: the fifteen of the benchmark in their published order, and the four extra ones."""

from __future__ import annotations

from robustlab.core.kinds import typed
from robustlab.corruptions import blur, colour, digital, elastic, frost, glass, noise, spatter, weather
from robustlab.corruptions.kind import Family, Kind

CORRUPTIONS: tuple[str, ...] = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""The fifteen corruptions that the mean corruption error is about."""
EXTRA: tuple[str, ...] = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""Four more, published for choosing hyper-parameters, so that nothing is tuned on the fifteen."""

_MADE = (noise, blur, glass, weather, colour, elastic, digital, spatter, frost)
_BY_NAME = {kind.name: kind for room in _MADE for kind in room.KINDS}
KINDS: dict[str, Kind] = {name: _BY_NAME[name] for name in (*CORRUPTIONS, *EXTRA) if name in _BY_NAME}


@typed
def family(name: str) -> Family:
    """The family of a corruption: noise, blur, weather, digital or extra."""
    return KINDS[name].family
