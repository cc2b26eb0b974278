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
from robustlab.models.scaled import Fit, fitted_name, of_width, with_stride

_SMALL = 64  # pixels: the usual five halvings leave nothing of less


class Shape(NamedTuple):
    """Shapes of inputs and outputs of a network; None: as published."""

    classes: int | None = None
    channels: int | None = None
    size: int | None = None


def timm_model(name: str, shape: Shape | None = None, *, pretrained: bool = False) -> nn.Module:
    """A timm network whose first layer is the normalisation of its own published configuration.

    Grey images: the first convolution takes one channel (pretrained weights are summed over channels), mean and std are
    the averages over the colours. Images below 64 pixels, and those too small for a network of fixed size, are enlarged
    inside the model, so that eps stays in the units of the images' own pixels. For larger images, a network of fixed
    size, such as a vision transformer, is built for them with timm's ``img_size``, which resamples published position
    embeddings.

    Options after the name, each after a comma, fit it to small images: "efficientnet_b0,stride=1,width=0.5" has a first
    convolution of stride 1 and half of the channels; ``dropout=0.2`` and ``drop_path=0.2`` are noise in training. Once
    the stride is given, nothing is enlarged.

    Args:
        name: in timm, with or without "timm:" in front, maybe with options.
        shape: classes, channels, and height and width of the images.
        pretrained: with the published weights; a new classification layer if the classes differ.

    Raises:
        ValueError: timm has no such name, or the network cannot be fitted so.
        DataError: the weights cannot be downloaded.
    """
    bare, fit = fitted_name(name.removeprefix("timm:"))
    check_known(bare)
    shape = shape or Shape()
    sizes = {"num_classes": shape.classes, "in_chans": shape.channels}
    wanted = {**{k: v for k, v in sizes.items() if v is not None}, **fit.rates}
    if fit.width == 1:
        net = _created(bare, {**wanted, **_larger(bare, shape.size)}, pretrained=pretrained)
    elif pretrained:
        raise ValueError(f"there are no published weights for {bare} with width {fit.width:g}: set pretrained=False")
    else:
        net = of_width(bare, fit.width, **wanted)
    return with_first_layers(net, f"timm:{bare}", shape, fit)


def check_known(bare: str, others: Sequence[str] = ()) -> None:
    """Refuses a name that is unknown to timm.

    Args:
        bare: without options.
        others: further valid names, for the message.

    Raises: ValueError with the closest names and the others.
    """
    import timm

    if timm.is_model(bare):
        _check_tag(bare)
        return
    close = get_close_matches(bare, [*others, *timm.list_models()], n=4) or timm.list_models(f"*{bare}*")[:4]
    meant = f"; did you mean {', '.join(close)}?" if close else ""
    there = f"{' There' if close else '; there'} are {', '.join(others)}" if others else ""
    raise ValueError(f"no model is called {bare!r}{meant}{there}")


def _check_tag(bare: str) -> None:
    """Refuses a tag behind the name, as in "resnet18.a1_in1k", that no published weights have."""
    import timm

    network, _, tag = bare.partition(".")
    if tag or bare != network:
        there = [name.partition(".")[2] for name in timm.list_pretrained(f"{network}.*")]
        if tag not in there:
            raise ValueError(f"{network} has no published weights {tag!r}: there are {', '.join(there) or 'none'}")


def _larger(bare: str, size: int | None) -> dict[str, Any]:
    """Option that builds a network of fixed size for larger images."""
    import timm

    published = timm.get_pretrained_cfg(bare)
    if size is None or published is None or not published.fixed_input_size or size <= published.input_size[-1]:
        return {}
    return {"img_size": size}


def _created(bare: str, wanted: dict[str, Any], *, pretrained: bool) -> nn.Module:
    import timm

    try:
        return timm.create_model(bare, pretrained=pretrained, **wanted)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise DataError(
            f"the weights of {bare} cannot be downloaded from the Hugging Face hub: {_first_line(error)}"
        ) from error


def with_first_layers(net: nn.Module, name: str, shape: Shape, fit: Fit | None = None) -> nn.Module:
    """A fitted timm network behind its normalisation and, for small images, an enlargement."""
    fit = fit or Fit()
    cfg = cast("dict[str, Any]", with_stride(net, fit.stride).pretrained_cfg)
    channels, size = shape.channels or cfg["input_size"][0], shape.size or cfg["input_size"][-1]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    side = size if fit.stride is not None else _network_side(cfg, size)
    if side != size:
        layers["enlarge"] = Enlarge(side)
    layers["normalise"] = Normalise(_per_channel(cfg["mean"], channels), _per_channel(cfg["std"], channels))
    layers["model"] = net
    known = {"name": f"{name}{fit}", "classes": cast(int, net.num_classes), "channels": channels, "size": size}
    return described(nn.Sequential(layers), known)


def _network_side(cfg: dict[str, Any], size: int) -> int:
    """Side of the images behind the enlargement, in pixels."""
    return max(size, int(cfg["input_size"][-1]) if cfg.get("fixed_input_size") else _SMALL)


def _per_channel(values: Sequence[float], channels: int) -> list[float]:
    """One value per channel: the published ones, or their average for another number of channels than published."""
    return list(values) if len(values) == channels else [sum(values) / len(values)] * channels


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
