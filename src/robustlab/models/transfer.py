"""Pretrained networks on images of other sizes and colours than those of their weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import torch
import torch.fx
from torch import Tensor, nn

from robustlab.core.weights import bare
from robustlab.models.architecture import Architecture, architecture_of, described
from robustlab.models.layers import Enlarge, Normalise

_FROM = ("from_channels", "from_size")


@torch.fx.wrap
def coloured(x: Tensor, channels: int) -> Tensor:
    """Grey images (N, 1, H, W) to (N, channels, H, W) with equal channels.

    Raises: ValueError if they are no grey images.
    """
    if x.ndim != 4 or x.shape[1] != 1:
        raise ValueError(
            f"grey images (N, 1, H, W) are expected, to be seen in {channels} channels; got {tuple(x.shape)}"
        )
    return x.expand(-1, channels, -1, -1)


class Colour(nn.Module):
    """Repeats the channel of grey images.

    Args:
        channels: of the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 1, H, W) to (N, channels, H, W)."""
        return coloured(x, self.channels)


def for_images(model: nn.Module, *, channels: int, size: int, side: int | None = None) -> nn.Module:
    """A model behind first layers that convert images to its size and colours.

    The result takes the images unchanged, so that eps stays in the units of their own pixels, and ``load`` builds it
    again from a file. First layers of an earlier call are removed.

    Args:
        model: for images in [0, 1] of C channels, from ``load``, or any with a convolution as its first layer.
        channels: of the images: C, or 1, which is repeated C times.
        size: height and width of the images, in pixels.
        side: height and width in the model; None: the size given to ``load``, else that of the images.

    Returns: the model itself if it fits already; else a module with the model as ``.model``.
    Raises: ValueError for another number of channels.
    """
    inner = without_first_layers(model)
    known = architecture_of(inner) or {}
    taken, side = _input_channels(inner, known, channels), side or cast(int, known.get("size", size))
    if channels not in (1, taken):
        raise ValueError(f"the images have {channels} channels, but the weights are for {taken}: convert the images")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if side != size:
        layers["enlarge"] = Enlarge(side)
    if channels != taken:
        layers["colour"] = Colour(taken)
    if not layers:
        return inner
    layers["model"] = inner
    whole = nn.Sequential(layers)
    whole.training = inner.training
    source = dict(zip(_FROM, (channels, size), strict=True))
    return described(whole, {**known, "channels": taken, "size": side, **source}) if known else whole


def without_first_layers(model: nn.Module) -> nn.Module:
    """The model without the first layers of ``for_images``."""
    known = architecture_of(model) or {}
    if _FROM[0] not in known:
        return model
    inner = bare(model).get_submodule("model")
    return described(inner, {key: value for key, value in known.items() if key not in _FROM})


def _input_channels(model: nn.Module, known: Architecture, otherwise: int) -> int:
    """Channels of a model's inputs."""
    if "channels" in known:
        return cast(int, known["channels"])
    first = next((part for part in model.modules() if isinstance(part, nn.Conv2d)), None)
    return first.in_channels if first is not None else otherwise


def check_normalisation(model: nn.Module) -> None:
    """Checks that a timm network gets its inputs normalised as in its training.

    Raises: ValueError if its configuration and its first layer differ in mean or standard deviation, or if there is no
        such layer.
    """
    for part in model.modules():
        cfg = getattr(part, "pretrained_cfg", None)
        if isinstance(cfg, dict) and "mean" in cfg and "std" in cfg:
            _check_first_layer(model, part, (cfg["mean"], cfg["std"]))


def _check_first_layer(model: nn.Module, net: nn.Module, expected: tuple[Sequence[float], Sequence[float]]) -> None:
    layer = next((part for part in model.modules() if isinstance(part, Normalise)), None)
    if layer is None and net is not model:
        return  # whatever is in front of the network is the user's own
    own_values = (torch.zeros(1), torch.ones(1)) if layer is None else (layer.mean, layer.std)
    found: list[list[float]] = [values.flatten().tolist() for values in own_values]
    # A grey image has the colours' average, see timm_model.
    same = all(
        torch.allclose(_column(own), _column(published) if len(own) == len(published) else _column(published).mean())
        for own, published in zip(found, expected, strict=True)
    )
    if not same:
        texts = [", ".join(f"{value:.3g}" for value in values) for values in (*expected, *found)]
        raise ValueError(
            f"the weights are of a network that was trained on inputs with mean {texts[0]} and std {texts[1]}, but the "
            f"model uses {texts[2]} and {texts[3]}: wrap the network with robustlab.models.normalised(net, mean, std)"
        )


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
