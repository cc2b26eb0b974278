"""Images of all formats of Pillow, as values in [0, 1]: all image files are read here.

Every reader of this room uses these functions, so that a file gives the same numbers everywhere:

- the orientation that the camera wrote (EXIF) is applied;
- transparency is dropped, as in the usual loaders (``convert("RGB")``): models were trained on these colours;
- one bit, palettes, CMYK, YCbCr, LAB and HSV become RGB; colour profiles are not applied, as usual;
- grey levels of 16 bits (modes I;16, I;16B, I;16L, I;16N) are divided by 65,535 and keep their precision (files of 12
  bits: by 4,095); mode I holds 16 bits, too, and mode F values in [0, 1]: other values are refused;
- an animation, or a file of several pages, is refused.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import torch
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
})  # fmt: skip
"""Names of files that are images for everybody."""
UNUSUAL = frozenset({
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".svg", ".psd", ".tga", ".exr", ".hdr", ".dng", ".cr2", ".cr3",
    ".nef", ".arw", ".dcm",
})  # fmt: skip
"""Names of images that not every Pillow reads: never left out silently."""
_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA", "HEIF")
_GREY = frozenset({"1", "L", "LA", "La"})
_COLOUR = frozenset({"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
_SIXTEEN = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_KEEP_SIXTEEN = frozenset({"PNG", "PPM", "JPEG2000"})  # formats that give mode I for 16 bits, whatever the values
_ORIENTATION, _BITS, _PHOTOMETRIC = 0x0112, 258, 262  # tags of EXIF and TIFF


@typed
def read_image(source: str | Path | Image.Image, *, channels: int | None = None) -> Tensor:
    """An image as values in [0, 1].

    Args:
        source: path of a file, or an image of Pillow.
        channels: 3 for colour, 1 for grey; None: as in the image.

    Returns: float32 (C, H, W), upright.

    Raises:
        DataError: the file is no single image, or cannot be read.
        ValueError: an image of Pillow whose values have no known scale.
    """

    def unit(image: Image.Image) -> Tensor:
        found = values(plain(image, channels), channels)
        return found if found.is_floating_point() else torch.div(found, 255.0)

    return read(Path(source), unit) if isinstance(source, str | Path) else unit(source)


def read(path: Path | io.BytesIO, frame: Callable[[Image.Image], Tensor]) -> Tensor:
    """An image file after framing.

    Raises: DataError with the name of the file and its fault.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=_formats()) as image:
            check_single(image)
            image.load()
            return frame(image)
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise DataError(_fault(path, error)) from error


def check_single(image: Image.Image) -> None:
    """Refuses animations and files of several pages; of a camera's file with two pictures (MPO) the first counts.

    Raises: ValueError.
    """
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format != "MPO":
        raise ValueError(f"it holds {count} frames or pages, not one image: save one of them as PNG")


def plain(image: Image.Image, channels: int | None = None) -> Image.Image:
    """An upright image of mode RGB or L (8 bits), or F (values in [0, 1], where it had more than 8 bits).

    Args:
        image: of Pillow; stays unchanged.
        channels: 3 or 1; None: grey stays grey. An image of mode F always has one channel.

    Raises: ValueError for an unknown mode, or values without a known scale.
    """
    upright = _upright(image)
    if upright.mode in _SIXTEEN or upright.mode in ("I", "F"):
        return _deep(upright, image)
    if upright.mode not in _GREY | _COLOUR:
        raise ValueError(f"images of Pillow's mode {upright.mode!r} cannot be read: convert them to RGB, L or I;16")
    wanted = {1: "L", 3: "RGB", None: "L" if upright.mode in _GREY else "RGB"}[channels]
    return _eight_bit(upright, wanted)


def values(image: Image.Image, channels: int | None = None) -> Tensor:
    """A plain image as uint8 (C, H, W), or float32 in [0, 1] where it had more than 8 bits."""
    found = torch.from_numpy(np.array(image))
    found = found.permute(2, 0, 1) if found.dim() == 3 else found.unsqueeze(0)
    if found.is_floating_point():
        found = found.clamp(0, 1)  # scaling by cubic splines overshoots
    return found.repeat(3, 1, 1) if channels == 3 and len(found) == 1 else found


def _upright(image: Image.Image) -> Image.Image:
    """The image in the orientation of the camera; invalid EXIF data are ignored."""
    from PIL import ImageOps

    try:
        if image.getexif().get(_ORIENTATION, 1) == 1:
            return image
        return ImageOps.exif_transpose(image) or image
    except Exception:  # damaged EXIF, raised as many kinds of errors
        return image


def _eight_bit(image: Image.Image, wanted: str) -> Image.Image:
    """An image of 8 bits in mode L or RGB, without transparency."""
    if image.mode == wanted:
        return image
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    if "transparency" in image.info:
        image = image.convert("RGBA")  # else a palette's transparency is a warning
    if image.mode in ("LAB", "HSV") and wanted == "L":
        image = image.convert("RGB")
    return image.convert(wanted)


def _deep(image: Image.Image, origin: Image.Image) -> Image.Image:
    """An image of more than 8 bits, or of floats, in mode F with values in [0, 1]."""
    from PIL import Image

    found = np.asarray(image).astype(np.float64)
    low, high = (float(found.min()), float(found.max())) if found.size else (0.0, 0.0)
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # NaN is refused, too
            raise ValueError(f"it is of floats (mode F) in [{low:g}, {high:g}]: scale them to [0, 1]")
        return Image.fromarray(found.astype(np.float32))
    top = 65535 if image.mode == "I" else _top(origin)
    if low < 0 or high > top:
        raise ValueError(f"its whole numbers (mode {image.mode}) are in [{low:g}, {high:g}]: scale them to 0..{top:,}")
    if image.mode == "I" and 1 <= high <= 255 and origin.format not in _KEEP_SIXTEEN:
        raise ValueError("its whole numbers (mode I) are at most 255, of 8 bits or 16: convert it to L or I;16")
    scaled = found / top
    return Image.fromarray((1 - scaled if _tag(origin, _PHOTOMETRIC) == 0 else scaled).astype(np.float32))


def _top(image: Image.Image) -> int:
    """The value of white: in a TIFF, by its number of bits."""
    bits = _tag(image, _BITS)
    return (1 << bits) - 1 if 8 < bits < 16 else 65535


def _tag(image: Image.Image, number: int) -> int:
    """A number of a TIFF's header; -1 if it is missing."""
    found = getattr(image, "tag_v2", {}).get(number, -1)
    return int(found[0] if isinstance(found, tuple) else found)


@cache
def _formats() -> list[str]:
    """Formats to decode: images of pixels. Others, such as PostScript, would start a program."""
    from PIL import Image

    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def pixels(x: object, framing: Callable[[Image.Image], Tensor] | None = None) -> Tensor:
    """One input of a data set as a tensor: uint8 in 0..255, or floats.

    Args:
        x: a tensor or an array; an image of Pillow, the path of a file, or the content of a file (bytes, or a
            dictionary with one of these under "bytes" or "path", as Hugging Face stores them).
        framing: scaling of the images; None: they keep their size.

    Raises:
        ValueError: it is none of these, or its values have no known scale.
        DataError: a file cannot be read.
    """
    frame = framing or _as_it_is
    if isinstance(x, Tensor):
        return x
    if is_image(x):
        return frame(x)
    if isinstance(x, dict) and {"bytes", "path"} & x.keys():
        x = x.get("bytes") or x.get("path")
    if isinstance(x, str | Path):
        return read(Path(x).expanduser(), frame)
    if isinstance(x, bytes | bytearray):
        return read(io.BytesIO(x), frame)
    found = np.asarray(x)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"a {type(x).__name__} is no image: give tensors, arrays, images of Pillow or paths of files")
    if found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] in (3, 4) and found.shape[0] > 4:
        from PIL import Image

        return frame(Image.fromarray(found))
    return torch.from_numpy(np.array(found))


def _as_it_is(image: Image.Image) -> Tensor:
    return values(plain(image))


def is_image(x: object) -> TypeGuard[Image.Image]:
    """True for an image of Pillow, without importing Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(x, pillow.Image)


def readable(suffix: str) -> bool:
    """True if files of this ending (in lower case, with its dot) can be read here."""
    from PIL import Image

    if suffix in SUFFIXES:
        return True
    return suffix in UNUSUAL and Image.registered_extensions().get(suffix) in _formats()


def _fault(source: Path | io.BytesIO, error: Exception) -> str:
    if isinstance(source, Path):
        return f"{source} {_reason(source, error)}"
    return f"an image of {source.getbuffer().nbytes} bytes cannot be read: {(str(error).splitlines() or [''])[0]}"


def _reason(path: Path, error: Exception) -> str:
    """Fault of a file, to follow its name."""
    from PIL import Image, UnidentifiedImageError

    if path.is_symlink() and not path.exists():
        return f"is a link to {path.readlink()}, which is not there: copy the image itself, or delete the link"
    if path.is_dir():
        return "is a folder, not an image"
    if isinstance(error, FileNotFoundError):
        return "cannot be read as an image: there is no such file"
    if isinstance(error, PermissionError):
        return "may not be read: change its permissions (chmod u+r)"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"has more pixels than is safe to decode ({limit:,}): scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS"
    if isinstance(error, UnidentifiedImageError):
        if not path.stat().st_size:
            return "is empty (0 bytes): copy it again, or delete it"
        if path.suffix.lower() in UNUSUAL:
            return f"is a {path.suffix[1:].upper()} file, which Pillow cannot read here: convert it to PNG or JPEG"
        return "cannot be read as an image, whatever its name says: copy it again, or delete it"
    message = (str(error).splitlines() or [""])[0] or type(error).__name__
    return f"cannot be read as an image: {message}"
