"""Framing: scaling of photographs to the square that a model takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast, get_args

from torch import Tensor, nn

from robustlab.core.kinds import typed
from robustlab.data.images import plain, values

if TYPE_CHECKING:
    from PIL import Image

Resize: TypeAlias = Literal["crop", "squash", "pad"]
Interpolation: TypeAlias = Literal["bicubic", "bilinear", "nearest", "lanczos", "box", "hamming"]
_CROP = 0.875


class Frames(Protocol):
    """A value from a PIL image to uint8 (C, H, W), or float32 in [0, 1]; its text describes the scaling."""

    def __call__(self, image: Image.Image, /) -> Tensor:
        """Pixels of an image."""


@typed
@dataclass(frozen=True, repr=False)
class Framing:
    """Scaling of an image to a square of fixed size.

    "crop": the shorter side is scaled to ``size / crop``, then the centre is cut out. "squash": both sides are scaled
    to ``size``, for any shape. "pad": the longer side is scaled to ``size``, the rest is black. An image that
    has the size already stays unchanged.

    Args:
        size: height and width, in pixels; None: images stay unchanged and must all have one size.
        crop: fraction of the shorter side that is kept; 0.875 is customary for ImageNet.
        channels: 3 for colour, 1 for grey; None: grey images stay grey, in data sets that are all of one kind.
        resize: see above.
        interpolation: of Pillow: "bicubic", "bilinear", "nearest", "lanczos", "box" or "hamming".
    """

    size: int | None = None
    crop: float = _CROP
    channels: int | None = 3
    resize: Resize = "crop"
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        if (self.size is not None and self.size < 1) or not 0 < self.crop <= 1 or self.channels not in (1, 3, None):
            raise ValueError(f"{self!r}: size must be positive, crop in (0, 1] and channels 1 or 3")
        if self.resize not in get_args(Resize) or self.interpolation not in get_args(Interpolation):
            raise ValueError(
                f"{self!r}: resize must be one of {', '.join(get_args(Resize))}, interpolation one of "
                f"{', '.join(get_args(Interpolation))}"
            )

    def __repr__(self) -> str:
        """Text without default values, on which digests of data depend."""
        other = {"resize": self.resize, "interpolation": self.interpolation}
        options = "".join(f", {k}={v!r}" for k, v in other.items() if v != getattr(type(self), k))
        return f"Framing(size={self.size}, crop={self.crop}, channels={self.channels}{options})"

    def __str__(self) -> str:
        """The framing in words, for reports."""
        colours = ", in grey" if self.channels == 1 else ""
        if self.size is None:
            return f"images in their own size{colours}"
        side, how = f"{self.size}x{self.size}", f"({self.interpolation})"
        if self.resize == "squash":
            return f"scaled to {side} {how} whatever their shape{colours}"
        if self.resize == "pad":
            return f"the longer side scaled to {self.size} {how}, filled up with black to {side}{colours}"
        shorter = round(self.size / self.crop)
        return f"the shorter side scaled to {shorter} {how}, the central {side} cut out{colours}"

    def __call__(self, image: Image.Image, /) -> Tensor:
        """A PIL image as uint8 (C, H, W); as float32 in [0, 1] where it has more than 8 bits.

        Raises: ValueError for an image whose values have no known scale, see ``robustlab.data.images``.
        """
        found = plain(image, self.channels)
        if self.size is not None and found.size != (self.size, self.size):
            found = self._square(found, self.size)
        return values(found, self.channels)

    def _square(self, image: Image.Image, size: int) -> Image.Image:
        if self.resize == "squash":
            return _scaled(image, (size, size), self.interpolation)
        if self.resize == "pad":
            width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
            scaled = _scaled(image, (width, height), self.interpolation)
            return _cut(scaled, size, ((width - size) // 2, (height - size) // 2))
        shorter = round(size / self.crop)
        width, height = (max(shorter, round(side * shorter / min(image.size))) for side in image.size)
        scaled = _scaled(image, (width, height), self.interpolation)
        return _cut(scaled, size, ((width - size) // 2, (height - size) // 2))


@dataclass(frozen=True, repr=False)
class PublishedFraming:
    """The framing of published results on ImageNet, as in torchvision and timm.

    The shorter side is scaled to ``size / crop``, rounded down (the longer one, too), and the centre cut out: with the
    defaults torchvision's Resize(256) and CenterCrop(224).

    Args:
        size: height and width, in pixels.
        crop: fraction that is kept.
        interpolation: "bilinear", "bicubic" and so on.
        squash: both sides are scaled to ``size``, for any shape.
        channels: 3 for colour, 1 for grey.
    """

    size: int = 224
    crop: float = _CROP
    interpolation: Interpolation = "bilinear"
    squash: bool = False
    channels: int = 3

    def __repr__(self) -> str:
        """Text without default values, on which digests of data depend."""
        names = ("crop", "interpolation", "squash", "channels")
        other = {name: getattr(self, name) for name in names}
        options = "".join(f", {k}={v!r}" for k, v in other.items() if v != getattr(type(self), k))
        return f"PublishedFraming(size={self.size}{options})"

    def __str__(self) -> str:
        """The framing in words, for reports."""
        what = "both sides" if self.squash else "the shorter side"
        side = f"{self.size}x{self.size}"
        return f"{what} scaled to {self._shorter} ({self.interpolation}), the central {side} cut out, as published"

    @property
    def _shorter(self) -> int:
        return math.floor(self.size / self.crop)

    def __call__(self, image: Image.Image, /) -> Tensor:
        """A PIL image as uint8 (C, H, W); as float32 in [0, 1] where it has more than 8 bits."""
        found, shorter = plain(image, self.channels), self._shorter
        least = min(found.size)
        width, height = (
            shorter if self.squash or side == least else int(shorter * side / least) for side in found.size
        )
        scaled = _scaled(found, (width, height), self.interpolation)
        corner = (round((width - self.size) / 2), round((height - self.size) / 2))
        return values(_cut(scaled, self.size, corner), self.channels)


def published_framing(model: object) -> PublishedFraming | None:
    """Framing in the configuration of a timm network.

    Args:
        model: the network, or a module that it is in.

    Returns: None if there is no such configuration, or the network was made for another size.
    """
    cfg = _configuration(model)
    if cfg is None:
        return None
    size, crop = cfg["input_size"][-1], float(cfg.get("crop_pct") or _CROP)
    interpolation = cast(
        Interpolation, cfg["interpolation"] if cfg.get("interpolation") in get_args(Interpolation) else "bicubic"
    )
    known = getattr(model, "architecture", None) or {}
    if known.get("from_size", known.get("size", size)) != size or cfg["input_size"][-2] != size:
        return None
    channels = 1 if known.get("from_channels", known.get("channels", cfg["input_size"][0])) == 1 else 3
    if cfg.get("crop_mode", "center") not in ("center", "squash") or not 0 < crop <= 1:
        return None
    return PublishedFraming(size, crop, interpolation, cfg.get("crop_mode") == "squash", channels)


def framing_for(model: object) -> Framing | PublishedFraming | None:
    """The framing of a model's images, as far as known.

    Args:
        model: a network of ``robustlab.models.load`` or of timm, or a module that it is in; anything else gives None.

    Returns: timm's published framing, or the one for the size and channels that the model was made for, with the
        resizing that it was trained with; None if size and channels are unknown.
    """
    published = published_framing(model)
    if published is not None:
        return published
    known = getattr(model, "architecture", None) or {}
    size, channels = known.get("from_size", known.get("size")), known.get("from_channels", known.get("channels"))
    if channels is None:
        channels = next((c for part in _modules(model) if (c := getattr(part, "in_channels", None)) is not None), None)
    if size is None and channels not in (1, 3):
        return None
    words = {key: known[key] for key in ("resize", "interpolation") if key in known}
    return Framing(size, channels=1 if channels == 1 else 3, **words)


def _configuration(model: object) -> dict[str, Any] | None:
    """The configuration of a timm network or of one inside a model."""
    for part in _modules(model):
        cfg = getattr(part, "pretrained_cfg", None)
        if isinstance(cfg, dict) and len(cfg.get("input_size") or ()) == 3:
            return cfg
    return None


def _modules(model: object) -> list[nn.Module]:
    return list(model.modules()) if isinstance(model, nn.Module) else []


def _scaled(image: Image.Image, size: tuple[int, int], interpolation: str) -> Image.Image:
    from PIL import Image

    return image.resize(size, Image.Resampling[interpolation.upper()])


def _cut(image: Image.Image, size: int, corner: tuple[int, int]) -> Image.Image:
    """A square of an image; black outside the image."""
    left, top = corner
    return image.crop((left, top, left + size, top + size))
