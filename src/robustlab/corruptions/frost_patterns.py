"""Statistics of the photographs of frost in ImageNet-C, without the pictures."""

from __future__ import annotations

from typing import NamedTuple


class Pattern(NamedTuple):
    """Statistics of pieces of 224 x 224 pixels of a photograph; values in [0, 1]."""

    mean: tuple[float, float, float]
    """Mean of red, green and blue."""
    deviation: tuple[float, float, float]
    """Standard deviation of red, green and blue."""
    correlation: tuple[float, float, float]
    """Correlations of red with green, red with blue, green with blue."""
    quantiles: tuple[float, float, float, float, float]
    """Quantiles at 5, 25, 50, 75 and 95 % of the means over the colours."""
    spectrum: tuple[float, ...]
    """log10 of the power of that mean in 16 rings of equal width from 0 to half a cycle per pixel."""


_PALE = Pattern(
    (0.7715, 0.7882, 0.8242),
    (0.0793, 0.0823, 0.0857),
    (0.9956, 0.9904, 0.9952),
    (0.651, 0.7647, 0.8248, 0.8719, 0.9268),
    (-0.060, -1.039, -1.402, -1.751, -1.970, -2.077, -2.233, -2.343, -2.443, -2.558, -2.668, -2.768, -2.929, -3.076,
     -3.245, -3.410),
)  # fmt: skip
PATTERNS = (
    Pattern(
        (0.2906, 0.5743, 0.6412),
        (0.1045, 0.0626, 0.0575),
        (0.8221, 0.5701, 0.9318),
        (0.4078, 0.4614, 0.5059, 0.5582, 0.6405),
        (-0.239, -1.707, -2.130, -2.290, -2.374, -2.435, -2.478, -2.540, -2.607, -2.693, -2.786, -2.902, -3.015, -3.152,
         -3.298, -3.411),
    ),
    _PALE,
    _PALE,
    Pattern(
        (0.5737, 0.632, 0.6829),
        (0.1057, 0.1060, 0.1111),
        (0.9975, 0.9907, 0.9925),
        (0.4078, 0.5255, 0.5961, 0.6627, 0.7791),
        (-0.023, -0.933, -1.274, -1.428, -1.550, -1.688, -1.775, -1.885, -1.982, -2.060, -2.163, -2.280, -2.417, -2.559,
         -2.708, -2.845),
    ),
    Pattern(
        (0.4223, 0.4659, 0.5108),
        (0.1580, 0.1553, 0.1512),
        (0.9994, 0.9977, 0.9991),
        (0.2353, 0.3595, 0.4667, 0.5908, 0.7974),
        (0.406, -0.490, -0.910, -1.201, -1.410, -1.583, -1.733, -1.838, -1.965, -2.046, -2.139, -2.202, -2.275, -2.331,
         -2.377, -2.411),
    ),
)  # fmt: skip
"""The five photographs; the second and the third differ by less than these numbers show."""
