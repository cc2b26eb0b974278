"""Published networks from timm by name, for images in [0, 1], grey or small ones too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, cast

from torch import nn

from robustlab.core.errors import DataError
from robustlab.models.architecture import described
from robustlab.models.layers import Enlarge, Normalise

_SMALL = 64  # pixels: the usual five halvings leave nothing of less


class Shape(NamedTuple):
    """What a network takes and gives; None: as it was published."""

    classes: int | None = None
    channels: int | None = None
    size: int | None = None


def timm_model(name: str, shape: Shape | None = None, *, pretrained: bool = False) -> nn.Module:
    """A timm network whose first layer is the normalisation of its own published configuration.

    Grey images: the first convolution takes one channel (pretrained weights are summed over channels), mean and std are
    the averages over the colours. Images below 64 pixels, and any of another size than a network of fixed size takes,
    are enlarged inside the model, so that eps stays in the units of the images' own pixels.

    Args:
        name: as timm knows it, with or without "timm:" in front.
        shape: classes, channels, and height and width of the images.
        pretrained: with the published weights; a new classification layer if the classes differ.

    Raises:
        ValueError: timm knows no such name; says which are close.
        DataError: the weights cannot be downloaded.
    """
    import timm

    bare = name.removeprefix("timm:")
    if not timm.is_model(bare):
        close = get_close_matches(bare, timm.list_models(), n=4) or timm.list_models(f"*{bare}*")[:4]
        raise ValueError(f"no model is called {bare!r}" + (f"; did you mean {', '.join(close)}?" if close else ""))
    shape = shape or Shape()
    wanted: dict[str, Any] = {"num_classes": shape.classes, "in_chans": shape.channels}
    try:
        net = timm.create_model(bare, pretrained=pretrained, **{k: v for k, v in wanted.items() if v is not None})
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise DataError(
            f"the weights of {bare} cannot be had from the Hugging Face hub: {_first_line(error)}"
        ) from error
    return with_first_layers(net, f"timm:{bare}", shape)


def with_first_layers(net: nn.Module, name: str, shape: Shape) -> nn.Module:
    """A timm network behind its normalisation and, for small images, an enlargement."""
    cfg = cast("dict[str, Any]", net.pretrained_cfg)
    channels, size = shape.channels or cfg["input_size"][0], shape.size or cfg["input_size"][-1]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    side = _taken_side(cfg, size)
    if side != size:
        layers["enlarge"] = Enlarge(side)
    layers["normalise"] = Normalise(_per_channel(cfg["mean"], channels), _per_channel(cfg["std"], channels))
    layers["model"] = net
    classes = cast(int, net.num_classes)
    return described(nn.Sequential(layers), {"name": name, "classes": classes, "channels": channels, "size": size})


def _taken_side(cfg: dict[str, Any], size: int) -> int:
    """Side of the images that the network itself gets, in pixels."""
    return int(cfg["input_size"][-1]) if cfg.get("fixed_input_size") else max(size, _SMALL)


def _per_channel(values: Sequence[float], channels: int) -> list[float]:
    """One value per channel: the published ones, or their average for another number of channels than published."""
    return list(values) if len(values) == channels else [sum(values) / len(values)] * channels


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
