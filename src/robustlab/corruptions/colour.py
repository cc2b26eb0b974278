"""Changes of brightness and saturation as in HSV, computed without a conversion.

With V = max(R, G, B) and S = (V - min) / V, a colour of HSV is V (1 - S t) in each channel, where t in [0, 1] depends
on the hue alone. So a new V scales the channels, and a new S scales their distances below V.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustlab.corruptions.kind import Draws, Kind
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.suite import register


def brightness(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Adds to the value of HSV, V' = min(V + c, 1), and keeps hue and saturation: x V' / V; black becomes grey."""
    del draws
    (more,) = constants
    value = x.amax(dim=1, keepdim=True)
    new = (value + more).clamp_(max=1)
    return torch.where(value > 0, x * (new / value), new)


def saturate(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Scales and shifts the saturation of HSV, S' = clip(c S + d, 0, 1): V - (V - x) S' / S.

    Grey has no hue; it counts as red, as in the usual conversion, so that a shift makes grey reddish.
    """
    del draws
    factor, more = constants
    value, below = x.amax(dim=1, keepdim=True), x.amin(dim=1, keepdim=True)
    chroma = value - below
    saturation = torch.where(value > 0, chroma / value, 0)
    new = (saturation * factor + more).clamp_(0, 1)
    red = torch.cat([value, (value * (1 - new)).expand(-1, x.shape[1] - 1, -1, -1)], dim=1)
    return torch.where(chroma > 0, value - (value - x) * (new * value / chroma), red)


register(
    Kind("brightness", "weather", brightness),
    Kind("saturate", "extra", saturate, colour=True),
)
