"""Attribution maps as pictures: blue speaks for the class, orange against it, over the image in pale grey."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.report.pictures import LARGEST
from robustlab.runs.files import replace_atomically

FOR, AGAINST = (0, 78, 140), (200, 80, 0)
"""Colours of values above and below 0; they differ in brightness too, and to eyes that do not see red and green."""
QUANTILE = 0.99
"""Quantile of the absolute values of a map at which the colour is full."""
_PALE = 0.82


def scale_of(pixels: Tensor) -> float:
    """99th percentile of the absolute values of a map (H, W), over finite ones; 0 for a map of zeros.

    Where more than 99 % of the pixels are 0, the largest value.
    """
    values = pixels.double().abs().flatten()
    values = values[values.isfinite()]
    if not len(values):
        return 0.0
    found = float(torch.quantile(values, QUANTILE))
    return found or float(values.max())


@typed
def map_colours(pixels: Tensor, image: Tensor | None = None) -> NDArray[np.uint8]:
    """A map in colours (H, W, 3).

    Colours are full from the 99th percentile of the map's absolute values on; values that are not finite
    are black.

    Args:
        pixels: values per pixel (H, W).
        image: (C, H, W) or (H, W) in [0, 1], drawn beneath it in pale grey; None: white.
    """
    scale = scale_of(pixels)
    signed = (pixels.double() / scale).clamp(-1, 1) if scale else torch.zeros_like(pixels.double())
    strength = signed.abs().nan_to_num(0)[..., None]
    grey = torch.ones_like(strength) if image is None else _grey(image)
    colour = torch.where(signed[..., None] > 0, torch.tensor(FOR), torch.tensor(AGAINST)).double() / 255
    mixed = grey * (1 - strength) + colour * strength
    mixed[~pixels.isfinite()] = 0
    found: NDArray[np.uint8] = mixed.mul(255).round().byte().numpy()
    return found


def _grey(image: Tensor) -> Tensor:
    """An image in pale grey (H, W, 1), in [0.82, 1]."""
    flat = image.double().mean(0) if image.ndim == 3 else image.double()
    return (_PALE + (1 - _PALE) * flat.clamp(0, 1))[..., None]


def uri_of(colours: NDArray[np.uint8], *, most: int = LARGEST) -> str:
    """Colours (H, W, 3) as the data URI of a PNG; sides longer than ``most`` are thinned out."""
    step = -(-max(colours.shape[:2]) // most)
    buffer = io.BytesIO()
    _save(colours[::step, ::step], buffer)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def save_png(colours: NDArray[np.uint8], path: Path) -> None:
    """Writes colours (H, W, 3) as a PNG, whole or not at all."""
    replace_atomically(path, lambda part: _save(colours, part))


def _save(colours: NDArray[np.uint8], to: io.BytesIO | Path) -> None:
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(colours)).save(to, "PNG", optimize=True)
