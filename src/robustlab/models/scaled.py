"""timm networks fitted to small images: another stride of the first convolution, another width, noise of their own."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, cast

from torch import nn

_MULTIPLIERS = {
    "efficientnet_b0": (1.0, 1.0),
    "efficientnet_b1": (1.0, 1.1),
    "efficientnet_b2": (1.1, 1.2),
    "efficientnet_b3": (1.2, 1.4),
    "efficientnet_b4": (1.4, 1.8),
    "efficientnet_b5": (1.6, 2.2),
    "efficientnet_b6": (1.8, 2.6),
    "efficientnet_b7": (2.0, 3.1),
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
    "efficientnet_lite3": (1.2, 1.4),
    "efficientnet_lite4": (1.4, 1.8),
}
"""Factors of channels and of layers relative to B0: Tan, Le, EfficientNet, ICML 2019, and the released code."""
_NUMBER = re.compile(r"\d+(\.\d+)?")


class Fit(NamedTuple):
    """Changes to a timm network; as text they follow the name: "efficientnet_b0,stride=1,width=0.5"."""

    stride: int | None = None
    """Stride of the first convolution; None: the published one, and images below 64 pixels are enlarged."""
    width: float = 1.0
    """Multiplies the channels of every layer."""
    dropout: float = 0.0
    """Share of the features that is dropped before the classification layer, in training mode."""
    drop_path: float = 0.0
    """Rate of timm's stochastic depth, in training mode: the share of the examples for which a block is left out grows
    from 0 at the first towards this. In an EfficientNet of n blocks the last would have (n - 1) / n of it, but like all
    without a shortcut it always stays."""

    def __str__(self) -> str:
        """The options that differ from the published network, each after a comma."""
        options = zip(self._fields, self, self._field_defaults.values(), strict=True)
        return "".join(f",{name}={value:g}" for name, value, usual in options if value != usual)

    @property
    def rates(self) -> dict[str, Any]:
        """Rates of dropout and stochastic depth under timm's names, without zeros."""
        named = {"drop_rate": self.dropout, "drop_path_rate": self.drop_path}
        return {name: rate for name, rate in named.items() if rate}


def fitted_name(name: str) -> tuple[str, Fit]:
    """Splits a name into the bare name and its options.

    Raises: ValueError for an unknown option or an invalid value.
    """
    bare, *words = name.split(",")
    found: dict[str, Any] = {}
    for word in words:
        option, _, value = word.partition("=")
        if option not in Fit._fields or not _NUMBER.fullmatch(value):
            raise ValueError(f"{word!r} in {name!r} is none of stride=1, width=0.5, dropout=0.2, drop_path=0.2")
        found[option] = int(value) if option == "stride" and value.isdecimal() else float(value)
    fit = Fit(**found)
    if fit.stride not in (None, 1, 2):
        raise ValueError(f"stride is that of the first convolution, 1 or 2, got {fit.stride} in {name!r}")
    if not fit.width > 0 or not 0 <= fit.dropout < 1 or not 0 <= fit.drop_path < 1:
        raise ValueError(f"in {name!r} width must be > 0, dropout and drop_path in [0, 1)")
    return bare, fit


def of_width(name: str, width: float, **wanted: Any) -> nn.Module:  # noqa: ANN401 -- handed on to timm
    """An EfficientNet with the published channels times a factor, rounded to multiples of 8.

    Args:
        name: "efficientnet_b0" to "efficientnet_b7", "efficientnet_lite0" to "efficientnet_lite4".
        width: > 0.
        **wanted: classes, channels and rates, as timm calls them.

    Raises: ValueError for another network.
    """
    from timm.models import efficientnet as timm_efficientnet

    if name not in _MULTIPLIERS:
        raise ValueError(f"width is for efficientnet_b0 to b7 and efficientnet_lite0 to lite4, got {name!r}")
    channels, layers = _MULTIPLIERS[name]
    lite = "lite" in name
    make = timm_efficientnet._gen_efficientnet_lite if lite else timm_efficientnet._gen_efficientnet
    return cast(nn.Module, make(name, channel_multiplier=channels * width, depth_multiplier=layers, **wanted))


def with_stride(net: nn.Module, stride: int | None) -> nn.Module:
    """Sets the stride of a timm network's first convolution; None: unchanged.

    Raises: ValueError if it has no such convolution, or one that cuts the image into patches.
    """
    if stride is None:
        return net
    first = cast("dict[str, Any]", net.pretrained_cfg).get("first_conv")
    conv = dict(net.named_modules()).get(first) if isinstance(first, str) else None
    if not isinstance(conv, nn.Conv2d) or conv.stride not in ((1, 1), (2, 2)):
        raise ValueError(f"{type(net).__name__} does not begin with a convolution of stride 1 or 2: leave out stride=")
    conv.stride = (stride, stride)
    return net
