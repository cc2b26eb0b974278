"""Filtering with any kernel by the Fourier transform, whose time does not depend on the kernel."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Kernel: TypeAlias = tuple[tuple[float, ...], ...]
"""The weights of a square filter of odd width, row by row; hashable, so that its transform can be remembered."""


def correlate(x: Tensor, kernel: Kernel) -> Tensor:
    """Filters images with a kernel; outside they are mirrored without the edge pixel.

    Args:
        x: images (N, C, H, W), float, with sides longer than the kernel's radius.
        kernel: the weights, not rotated.

    Returns: tensor like ``x``.
    """
    reach = len(kernel) // 2
    height, width = x.shape[-2:]
    size = (_fast_length(height + 2 * reach), _fast_length(width + 2 * reach))
    spectrum: Tensor = torch.fft.rfft2(F.pad(x, (reach,) * 4, mode="reflect"), s=size)
    spectrum *= _transformed(kernel, size).to(device=x.device, dtype=spectrum.dtype)
    filtered: Tensor = torch.fft.irfft2(spectrum, s=size)
    return filtered[..., :height, :width]


@lru_cache(maxsize=32)
def _transformed(kernel: Kernel, size: tuple[int, int]) -> Tensor:
    """The conjugate transform of a kernel, complex128."""
    spectrum: Tensor = torch.fft.rfft2(torch.tensor(kernel, dtype=torch.float64), s=size)
    return spectrum.conj().resolve_conj()


def _fast_length(length: int) -> int:
    """A length for fast Fourier transforms: at least as long, a multiple of 16 with prime factors 2, 3 and 5."""
    length = 16 * math.ceil(length / 16)
    while not _is_smooth(length):
        length += 16
    return length


def _is_smooth(number: int) -> bool:
    for prime in (2, 3, 5):
        while number % prime == 0:
            number //= prime
    return number == 1
