"""Counter-based random draws: pure functions of (seed, example id, draw number).

The draws of an example do not depend on its batch, on dropped examples or on resuming a run. Integers and uniform
numbers are the same bits on CPU and GPU. The generator is splitmix64: word j of a draw is
``mix(base + j * GOLDEN)`` with a base made from (seed, id, draw).

Source: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014 (the mixing constants are
Stafford's variant 13).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core.kinds import seen, typed
from robustlab.core.names import example_names

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)


def _signed(word: int) -> int:
    """The int64 with the bits of an unsigned 64-bit word."""
    word &= _MASK
    return word - (1 << 64) if word >> 63 else word


def _mix_int(word: int) -> int:
    word = int(word) & _MASK  # int: of NumPy's and torch's integers, which overflow
    for shift, factor in zip(_SHIFTS, (*_FACTORS, 1), strict=True):
        word = ((word ^ (word >> shift)) * factor) & _MASK
    return word


def _mix_(words: Tensor) -> Tensor:
    """Mixes int64 words in place; int64 shifts keep the sign, so the shifted-in bits are masked away."""
    for shift, factor in zip(_SHIFTS, (*_FACTORS, 1), strict=True):
        words.bitwise_xor_((words >> shift).bitwise_and_((1 << (64 - shift)) - 1))
        if factor != 1:
            words.mul_(_signed(factor))
    return words


def fold_in(seed: int, *labels: int) -> int:
    """Derives a seed from a seed and labels; other labels give unrelated seeds.

    Returns: an integer in 0..2**63 - 1.
    """
    for one in (seed, *labels):
        if not hasattr(one, "__index__"):
            raise ValueError(f"fold_in: seed and labels must be whole numbers, got {seen(one)}")
    for label in labels:
        seed = _mix_int(_mix_int(seed) + _GOLDEN * (label + 1))
    return seed & (_MASK >> 1)


@dataclass(frozen=True)
class Streams:
    """One stream of random numbers per example.

    Args:
        seed: any integer.
        ids: names of the examples (N,), int64; equal ids get equal draws.

    Raises: ValueError for ids that are no whole numbers.

    Example:
        >>> a = Streams(0, torch.tensor([7, 8])).uniform((3,))
        >>> b = Streams(0, torch.tensor([8])).uniform((3,))
        >>> bool((a[1] == b[0]).all())
        True
    """

    seed: int
    ids: Tensor

    def __post_init__(self) -> None:
        if not hasattr(self.seed, "__index__"):
            raise ValueError(f"Streams: seed must be a whole number, got {seen(self.seed)}")
        example_names(self.ids)

    def take(self, rows: Tensor) -> Streams:
        """The streams of some of the examples; ``rows`` is a mask (N,) or row numbers."""
        return Streams(self.seed, self.ids[rows])

    def __getitem__(self, rows: slice) -> Streams:
        """The streams of consecutive examples."""
        return Streams(self.seed, self.ids[rows])

    def fork(self, *labels: int) -> Streams:
        """Streams for another purpose, unrelated to these."""
        return Streams(fold_in(self.seed, *labels), self.ids)

    def words(self, count: int, draw: int = 0) -> Tensor:
        """Random 64-bit words (N, count), int64."""
        base = _mix_(self.ids.to(torch.int64) * _signed(_GOLDEN) + _signed(_mix_int(self.seed)))
        base = _mix_(base + _signed(_GOLDEN * (draw + 1)))
        steps = torch.arange(1, count + 1, device=self.ids.device, dtype=torch.int64).mul_(_signed(_GOLDEN))
        return _mix_(base[:, None] + steps)

    def _halves(self, shape: Sequence[int], draw: int) -> Tensor:
        """Random 32-bit words (N, *shape), int32, two from each 64-bit word."""
        count = math.prod(shape)
        return self.words((count + 1) // 2, draw).view(torch.int32)[:, :count].reshape(-1, *shape)

    def uniform(self, shape: Sequence[int], draw: int = 0, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform numbers in [0, 1), with 24 random bits (53 in float64).

        Args:
            shape: shape of one example's draw.
            draw: number of the draw, >= 0.
            dtype: of the result; half types are rounded from float32 and may reach 1.

        Returns: tensor (N, *shape).
        """
        if dtype == torch.float64:
            words = self.words(math.prod(shape), draw).reshape(-1, *shape)
            return (words >> 11).bitwise_and_((1 << 53) - 1).to(dtype).mul_(2.0**-53)
        halves = self._halves(shape, draw)
        return (halves >> 8).bitwise_and_((1 << 24) - 1).to(torch.float32).mul_(2.0**-24).to(dtype)

    def normal(self, shape: Sequence[int], draw: int = 0, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal numbers (N, *shape) by the Box-Muller transform, computed in float64."""
        count = math.prod(shape)
        pairs = (count + 1) // 2
        u = self.uniform((2, pairs), draw, dtype=torch.float64)
        radius = torch.sqrt(-2 * torch.log1p(-u[:, 0]))
        angle = 2 * math.pi * u[:, 1]
        both = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
        return both[:, :count].reshape(-1, *shape).to(dtype)

    def integers(self, high: int, shape: Sequence[int] = (), draw: int = 0) -> Tensor:
        """Whole numbers 0..high-1 (N, *shape), int64; the bias is below ``high / 2**32``.

        Raises: ValueError if high is not in 1..2**31 - 1.
        """
        if not 1 <= high < 1 << 31:
            raise ValueError(f"high must be in 1..2**31 - 1, got {high}")
        halves = self._halves(shape, draw).to(torch.int64).bitwise_and_(0xFFFFFFFF)
        return (halves * high) >> 32


@typed
def subset(population: int, size: int, seed: int = 0) -> Tensor:
    """Draws a simple random sample without replacement: the ids with the smallest hash.

    Samples of growing size from one seed contain each other.

    Args:
        population: number of examples; ids are 0..population-1.
        size: number of ids to draw, at most ``population``.
        seed: of the draw.

    Returns: sorted ids (size,), int64.
    Raises: ValueError if size is not in 0..population.
    """
    if not 0 <= size <= population:
        raise ValueError(f"cannot draw {size} of {population} examples without replacement")
    ids = torch.arange(population)
    hashes = Streams(fold_in(seed, 0x5AB5E7), ids).words(1)[:, 0]
    return ids[torch.argsort(hashes, stable=True)[:size]].sort().values
