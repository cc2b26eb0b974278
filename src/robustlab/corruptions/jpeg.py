"""JPEG compression in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from robustlab.corruptions.kind import Draws
from robustlab.corruptions.severity import Constants

Codec: TypeAlias = Callable[[Tensor, int], Tensor]
"""From an image (C, H, W) in eight bits and a quality to the image that is read back."""


def jpeg_compression(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Saves and loads images as JPEG files in memory, with colours at half the resolution.

    It runs on the CPU, image by image: several threads were slower in a measurement.
    """
    del draws
    through, quality = codec(), int(constants[0])
    levels = torch.stack([image.mul(255).add_(0.5).to(torch.uint8) for image in x]).cpu()
    return torch.stack([through(image, quality) for image in levels]).to(x.device)


@lru_cache
def codec() -> Codec:
    """Codec of torchvision if installed, which needs no copies, else of Pillow; both use libjpeg."""
    import torchvision.io  # noqa: F401 -- loads the operators

    operators = torch.ops.image
    return _by_operators if hasattr(operators, "encode_jpeg") and hasattr(operators, "decode_jpeg") else by_pillow


def _by_operators(image: Tensor, quality: int) -> Tensor:
    """The functions of torchvision.io without their deprecation warning."""
    unchanged = 0
    file = torch.ops.image.encode_jpeg(image, quality)
    loaded: Tensor = torch.ops.image.decode_jpeg(file, unchanged)
    return loaded


def by_pillow(image: Tensor, quality: int) -> Tensor:
    """The codec of the published code."""
    from PIL import Image

    file = BytesIO()
    pixels = image[0] if image.shape[0] == 1 else image.movedim(0, 2).contiguous()
    Image.fromarray(pixels.numpy()).save(file, "JPEG", quality=quality)
    with Image.open(file, formats=["JPEG"]) as loaded:
        return torch.from_numpy(np.array(loaded)).view(*image.shape[1:], -1).movedim(2, 0)
