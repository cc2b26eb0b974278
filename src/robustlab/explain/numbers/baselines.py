"""Images without information, from which pixels are taken when they are removed."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

BaselineName: TypeAlias = Literal["black", "mean", "blur"]
"""Pixels of value 0; the mean of each channel of the image; the image blurred by a Gaussian of 11 x 11 pixels with a
standard deviation of 5, its border pixels repeated outside."""
_REACH, _SIGMA = 5, 5.0


def baseline_of(x: Tensor, name: BaselineName) -> Tensor:
    """The baseline of each input (N, ...), in its shape.

    Args:
        x: inputs (N, ...); for "blur" images (N, C, H, W).
        name: of the baseline; the mean of inputs (N, D) is that of all values.

    Raises: ValueError for another name, or a blur of what is no image.
    """
    if name == "black":
        return torch.zeros_like(x)
    if name == "mean":
        return x.mean(tuple(range(min(2, x.ndim - 1), x.ndim)), keepdim=True).expand_as(x)
    if name == "blur":
        return _blurred(x)
    raise ValueError(f"baseline must be one of {', '.join(get_args(BaselineName))}, got {name!r}")


def _blurred(x: Tensor) -> Tensor:
    if x.ndim != 4:
        raise ValueError(f"baseline 'blur' needs images (N, C, H, W), got {tuple(x.shape)}: take 'mean' or 'black'")
    places = torch.arange(-_REACH, _REACH + 1, dtype=torch.float64, device=x.device)
    weights = (-places.square() / (2 * _SIGMA**2)).exp()
    weights = (weights / weights.sum()).to(torch.promote_types(x.dtype, torch.float32))
    image = F.pad(x.to(weights.dtype), [_REACH] * 4, mode="replicate")
    for axis in (2, 3):
        image = sum(w * image.narrow(axis, i, x.shape[axis]) for i, w in enumerate(weights.tolist()))
    return image.to(x.dtype)
