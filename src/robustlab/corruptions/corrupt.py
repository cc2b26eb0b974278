"""Corruptions as values: checked input, counter-based draws, eight-bit output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from zlib import crc32

import torch
from torch import Tensor

from robustlab.core import Streams, fold_in
from robustlab.core.kinds import typed
from robustlab.core.names import example_names
from robustlab.core.rows import row_chunks
from robustlab.corruptions.kind import Apply, Kind, cut
from robustlab.corruptions.severity import SEVERITY, Constants, Table
from robustlab.corruptions.suite import KINDS

Variant: TypeAlias = Literal["imagenet-c", "corrected", "cifar-c", "imagecorruptions"]
"""Constants and code of ImageNet-C; the same with its faults mended; constants of CIFAR-C; what the library of that
name does with the constants of ImageNet-C."""
VARIANTS: tuple[Variant, ...] = get_args(Variant)

_LUMA = (0.299, 0.587, 0.114)


@typed
@dataclass(frozen=True)
class Corrupt:
    """A corruption: a value that maps images to corrupted images without side effects.

    Args:
        name: one of ``CORRUPTIONS`` or ``EXTRA``, or of a corruption that was added by ``register``.
        variant: "imagenet-c" is comparable with published numbers, faults included; "corrected" has the same
            constants, rounds to eight bits where the original truncates, and swaps in glass blur where the original
            copies; "cifar-c" has the constants for images of 32 x 32 pixels; "imagecorruptions" follows that library
            for images of any size.

    Example:
        >>> x = torch.full((2, 3, 8, 8), 0.5)
        >>> corruption("contrast")(x, severity=3).shape
        torch.Size([2, 3, 8, 8])
    """

    name: str
    variant: Variant = "imagenet-c"

    def __post_init__(self) -> None:
        KINDS.get(self.name)
        if self.variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {self.variant!r}")
        if dict(self.kind.others).get(self.variant, self.kind.apply) is None:
            raise ValueError(
                f"{self.name} is not offered as {self.variant!r}, which makes it otherwise: take 'imagenet-c', or "
                "leave it out"
            )

    @property
    def kind(self) -> Kind:
        """Functions and settings of the corruption."""
        return KINDS[self.name]

    @property
    def comparable(self) -> bool:
        """True if results are comparable with published ones; not for frost, whose photographs cannot be shipped."""
        return self.variant != "corrected" and self.kind.comparable and self.name in SEVERITY[self.table]

    @property
    def table(self) -> Table:
        """Name of the table of its constants."""
        return "cifar-c" if self.variant == "cifar-c" else "imagenet-c"

    def constants(self, severity: int) -> Constants:
        """Constants at a severity of 1 to 5.

        Raises: ValueError for another severity, or if there are no constants.
        """
        if severity not in range(1, 6):
            raise ValueError(f"severity must be a whole number from 1 to 5, got {severity!r}")
        five = SEVERITY[self.table].get(self.name, self.kind.constants)
        if five is None:
            raise ValueError(f"{self.name} has no constants: give its Kind five, one for each severity")
        return five[int(severity) - 1]

    def __call__(self, x: Tensor, *, severity: int, seed: int = 0, ids: Tensor | None = None) -> Tensor:
        """Corrupts images.

        Args:
            x: images (N, C, H, W) with one or three channels, float, in [0, 1].
            severity: 1 to 5.
            seed: of all random draws.
            ids: names of the images (N,), int64, that draws follow; None: 0..N-1.

        Returns: images like ``x`` (shape, dtype, device), in [0, 1], every value a multiple of 1/255 up to the
            precision of the dtype.
        Raises: ValueError for images that cannot be corrupted, with their shape or range.
        """
        constants = self.constants(severity)
        names = _checked(x, ids, self, self.kind.smallest(constants))
        streams = Streams(fold_in(seed, crc32(self.name.encode()), int(severity)), names)
        out = torch.empty_like(x, requires_grad=False)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            for rows in _portions(x, self.kind.portions):
                self._corrupt(x[rows], streams[rows], constants, out=out[rows])
        return out

    def _corrupt(self, x: Tensor, streams: Streams, constants: Constants, *, out: Tensor) -> None:
        """Corrupts, clips and cuts some of the images."""
        _check_range(x)
        working = x if x.dtype == torch.float64 else x.float()
        grey = self.kind.colour and x.shape[1] == 1
        if grey:
            working = working.expand(-1, 3, -1, -1)
        _, channels, height, width = working.shape
        draws = self.kind.draw(streams, (channels, height, width), constants)
        done = self._apply(working, draws, constants)
        if grey:
            done = _luma(done.clamp(0, 1))
        if done.dtype == torch.uint8:
            out.copy_(done).div_(255)
        else:
            cut(done, rounded=self.variant == "corrected", out=out)

    @property
    def _apply(self) -> Apply:
        own = {"corrected": self.kind.corrected, **dict(self.kind.others)}
        return own.get(self.variant) or self.kind.apply

    def described(self, side: int) -> str:
        """Text of the corruption in results on images of a side: with its version, if that is not the first.

        Args:
            side: the longer one, in pixels.

        Example:
            >>> corruption("snow").described(224)
            "Corrupt(name='snow', variant='imagenet-c', version=2)"
        """
        version = self.kind.version(self.variant, side)
        return repr(self) if version == 1 else f"{repr(self)[:-1]}, version={version})"


@typed
def corruption(name: str, variant: Variant = "imagenet-c") -> Corrupt:
    """The corruption of a name; see ``Corrupt``.

    Raises: ValueError for an unknown name or variant, with the nearest name.
    """
    return Corrupt(name, variant)


def _portions(x: Tensor, times: int) -> Iterator[slice]:
    """Slices of the rows of a batch, ``times`` times as large as fits the cache."""
    chunks = list(row_chunks(x))
    return (slice(chunks[i].start, chunks[min(i + times, len(chunks)) - 1].stop) for i in range(0, len(chunks), times))


def _luma(x: Tensor) -> Tensor:
    """Grey images (N, 1, H, W) from coloured ones."""
    return torch.einsum("nchw,c->nhw", x, x.new_tensor(_LUMA))[:, None]


def _checked(x: Tensor, ids: Tensor | None, what: Corrupt, smallest: int) -> Tensor:
    """The names of the images (N,); raises for images that cannot be corrupted."""
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not x.is_floating_point():
        raise ValueError(
            f"images must be floating point (N, C, H, W) with one or three channels, got {x.dtype} {tuple(x.shape)}"
        )
    if min(x.shape[2:]) < smallest:
        size = f"{x.shape[2]} x {x.shape[3]}"
        raise ValueError(f"{what.name} needs images of at least {smallest} x {smallest} pixels here, got {size}")
    if ids is None:
        return torch.arange(x.shape[0], device=x.device)
    return example_names(ids, len(x)).to(x.device)


def _check_range(x: Tensor) -> None:
    low, high = (float(end) for end in torch.aminmax(x))
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images must be in [0, 1], got values from {low:g} to {high:g}; divide 0..255 by 255")
