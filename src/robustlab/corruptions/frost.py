"""Frost without the photographs of the source: synthetic ice with the same statistics.

Five seamless textures are made from noise: crystal veins at the zeros of smooth fields, bent by other fields, with the
spectrum, quantiles and colours of the five photographs. The blend is that of ImageNet-C, the ice is not, so
results are not comparable with published ones.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.core import Streams
from robustlab.corruptions.frost_patterns import PATTERNS, Pattern
from robustlab.corruptions.kind import Draws, Kind, Shape
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.suite import register

SIDE = 512
"""Side of a texture, in pixels."""
_SEED = 11
_PIECE = 224  # side of the pieces whose spectrum is known
_RINGS = 16
_OCTAVES = 6
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def draw_frost(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Pieces of ice (N, 3, H, W) in [0, 1]: one of five textures for each image, from a place in it.

    A texture is periodic, so that a piece may be larger than it.
    """
    _, height, width = shape
    ice = textures(round(SIDE * constants[2]))
    which = streams.integers(len(PATTERNS), (), 0).tolist()
    corners = streams.integers(ice.shape[-1], (2,), 1).cpu()
    pieces = [_piece(ice[one], corner, height, width) for one, corner in zip(which, corners, strict=True)]
    return (torch.stack(pieces).to(streams.ids.device).float().div_(255),)


def _piece(texture: Tensor, corner: Tensor, height: int, width: int) -> Tensor:
    """The piece right of and below a pixel (2,) of a seamless texture (3, side, side)."""
    down, right = (
        (start + torch.arange(length)) % texture.shape[-1]
        for start, length in zip(corner, (height, width), strict=True)
    )
    return texture[:, down[:, None], right]


def frost(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Blends images (N, 3, H, W) with pieces of frost, by two weights that need not sum to 1."""
    (ice,) = draws
    return constants[0] * x + constants[1] * ice.to(x.dtype)


@lru_cache(maxsize=8)
def textures(side: int) -> Tensor:
    """The five textures (5, 3, side, side), uint8, at a size; made at the first call."""
    if side == SIDE:
        return torch.stack([_texture(number) for number in range(len(PATTERNS))])
    large = textures(SIDE).float()
    return F.interpolate(large, size=(side, side), mode="bilinear", align_corners=False).round_().to(torch.uint8)


def _texture(number: int) -> Tensor:
    """One texture (3, SIDE, SIDE), uint8: veins on an even grain."""
    pattern, streams = PATTERNS[number], Streams(_SEED, torch.tensor([number]))
    power = _power(pattern.spectrum)
    grain, *tints = (_shaped(_noise(streams.fork(1), field), power) for field in range(3))
    ice = 0.8 * _shaped(_veins(streams.fork(0)), power) + 0.6 * grain
    ice = _shaped(_with_quantiles(ice, pattern.quantiles), power)
    return _coloured(torch.stack([ice, *tints]), pattern).mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def _coloured(fields: Tensor, pattern: Pattern) -> Tensor:
    """An image (3, S, S) with the moments of a pattern; the first field varies most, the others tint it."""
    red_green, red_blue, green_blue = pattern.correlation
    correlation = [[1, red_green, red_blue], [red_green, 1, green_blue], [red_blue, green_blue, 1]]
    sizes, axes = torch.linalg.eigh(torch.tensor(correlation, dtype=torch.float64))
    mixing = (axes * axes[0].sign() * sizes.clamp(min=0).sqrt()).flip(1)
    fields = fields / fields.std((1, 2), keepdim=True)
    deviation, mean = (fields.new_tensor(part) for part in (pattern.deviation, pattern.mean))
    return torch.einsum("c,ck,khw->chw", deviation, mixing, fields) + mean[:, None, None]


def _veins(streams: Streams) -> Tensor:
    """Ridges along the zeros of noise of finer and finer grain, fine ones only on coarse ones, bent (S, S)."""
    out, before, weight = torch.zeros(SIDE, SIDE, dtype=torch.float64), torch.ones(()), 1.0
    for octave in range(_OCTAVES):
        ridge = (1 - _band(streams, octave, 3 * 2**octave).abs() / 2).clamp(min=0).square() * before
        out, before, weight = out + weight * ridge, (1.5 * ridge).clamp(max=1), 0.75 * weight
    coarse, fine = ([_band(streams.fork(cycles), axis, cycles) for axis in range(2)] for cycles in (8, 24))
    pixels = torch.arange(SIDE, dtype=torch.float64)
    places = [14 * a + 7 * b + at for a, b, at in zip(coarse, fine, (pixels, pixels[:, None]), strict=True)]
    grid = torch.stack(places, dim=-1).remainder(SIDE) * (2 / SIDE) - 1
    padded = F.pad(out[None, None], (0, 1, 0, 1), mode="circular")
    return F.grid_sample(padded, grid[None], align_corners=True)[0, 0]


def _noise(streams: Streams, draw: int) -> Tensor:
    return streams.normal((SIDE, SIDE), draw, dtype=torch.float64)[0]


def _band(streams: Streams, draw: int, cycles: int) -> Tensor:
    """Seamless noise (S, S) of about so many cycles per side, with variance 1."""
    frequency = _frequency(SIDE).clamp(min=0.5 / SIDE) * SIDE
    response = torch.exp(-2 * torch.log2(frequency / cycles).square())
    noise: Tensor = torch.fft.irfft2(torch.fft.rfft2(_noise(streams, draw)) * response, s=(SIDE, SIDE))
    return noise / noise.std()


def _frequency(side: int) -> Tensor:
    """Cycles per pixel of the coefficients of ``rfft2`` (side, side // 2 + 1)."""
    down, right = torch.fft.fftfreq(side, dtype=torch.float64), torch.fft.rfftfreq(side, dtype=torch.float64)
    return torch.hypot(down[:, None], right)


def _shaped(field: Tensor, power: Tensor) -> Tensor:
    """A field (S, S) with the same phases and the mean power of ``power`` at each frequency."""
    waves = torch.fft.rfft2(field)
    ring = (_frequency(SIDE) * SIDE).round().long().flatten()
    total = torch.zeros(int(ring.max()) + 1, dtype=torch.float64).index_add_(0, ring, waves.abs().square().flatten())
    mean = (total / torch.bincount(ring)).clamp_(min=1e-30)[ring].view_as(power)
    shaped: Tensor = torch.fft.irfft2(waves * (power / mean).sqrt(), s=(SIDE, SIDE))
    return shaped


def _power(spectrum: tuple[float, ...]) -> Tensor:
    """Power of a texture at the frequencies of ``rfft2``, so that its pieces have this log10 spectrum.

    Linear in both logarithms between the centres of the rings; below the second one a power of the frequency that gives
    the mean of the first ring. The mean of the texture is 0.
    """
    middles = (np.arange(_RINGS) + 0.5) / (2 * _RINGS)
    low = _frequency(_PIECE)
    low = low[low < 0.5 / _RINGS]
    known = np.log10(middles[1:])
    steep = _steepness((low[low > 0] / middles[1]).numpy(), low.numel() * 10 ** (spectrum[0] - spectrum[1]))
    frequency = np.log10(_frequency(SIDE).clamp(min=0.5 / SIDE).numpy())
    height = np.interp(frequency, known, spectrum[1:])
    height += steep * np.clip(known[0] - frequency, 0, None)
    power = torch.from_numpy(10**height)
    power[0, 0] = 0
    return power


def _steepness(ratios: np.ndarray[tuple[int, ...], np.dtype[np.float64]], total: float) -> float:
    """The exponent b of sum_i ratios_i^-b = total, by bisection; ratios are mostly below 1."""
    low, high = 0.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if (ratios**-middle).sum() < total else (low, middle)
    return low


def _with_quantiles(field: Tensor, quantiles: tuple[float, ...]) -> Tensor:
    """A field with values mapped monotonically to these quantiles, linear between them and outside."""
    have = torch.quantile(field.flatten()[::5], field.new_tensor(_SHARES)).numpy()
    slope = (quantiles[-1] - quantiles[0]) / (have[-1] - have[0])
    values = field.numpy()
    outside = values - np.clip(values, have[0], have[-1])
    return torch.from_numpy(np.interp(values, have, quantiles) + slope * outside)


_NOT_OFFERED = (("imagecorruptions", None),)  # there, the photographs are enlarged by a tenth
register(
    Kind("frost", "weather", frost, draw_frost, colour=True, comparable=False, others=_NOT_OFFERED, portions=4),
)
