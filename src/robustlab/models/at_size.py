"""Networks on enlarged images, with the same weights."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from robustlab.core.errors import CheckpointError
from robustlab.core.kinds import typed
from robustlab.core.weights import bare
from robustlab.models.architecture import Architecture, architecture_of
from robustlab.models.checkpoint import fill
from robustlab.models.layers import Enlarge
from robustlab.models.load import built
from robustlab.models.transfer import for_images, without_first_layers


@typed
def at_size(model: nn.Module, side: int) -> nn.Module:
    """A copy of a model that works on larger images than before.

    It takes the same images and enlarges them itself, so that data and eps stay unchanged. From a file, ``load``
    builds it again.

    Args:
        model: from ``load``, with a known architecture.
        side: height and width of the enlarged images in pixels, more than now.

    Returns: the copy, with the weights, the mode and on the device of the model.
    Raises: ValueError for a model of unknown architecture, a side that is not larger, or a network with
        layers for one size alone.
    """
    inner = without_first_layers(model)
    known, plan = architecture_of(model), architecture_of(inner)
    if known is None or plan is None:
        raise ValueError(
            f"the architecture of this {type(model).__name__} is unknown, so it cannot be built for {side} pixels: "
            "load a network by its name with robustlab.models.load"
        )
    channels, size = (cast(int, known.get(f"from_{name}", known[name])) for name in ("channels", "size"))
    made = for_images(_for_size(inner, plan, side), channels=channels, size=size, side=side)
    _check_larger(str(plan["name"]), _network_side(model, size), _network_side(made, size), side)
    home = next((p.device for p in model.parameters()), torch.device("cpu"))
    return made.train(bare(model).training).to(home)


def _for_size(model: nn.Module, plan: Architecture, side: int) -> nn.Module:
    """The network for images of another size, with the same weights."""
    with torch.random.fork_rng(devices=[]):
        made = built({**plan, "size": side})
    try:
        fill(made, model.state_dict(), str(plan["name"]))
    except CheckpointError as error:
        raise ValueError(
            f"{plan['name']} has layers for {plan['size']} pixels alone and cannot see images at {side}: take a "
            "network that averages over the image, such as residual-cnn or timm:efficientnet_b0,stride=2"
        ) from error
    return made


def _network_side(model: nn.Module, size: int) -> int:
    """Side of the images behind all first layers, where the network starts."""
    return next((part.side for part in reversed(list(model.modules())) if isinstance(part, Enlarge)), size)


def _check_larger(name: str, before: int, now: int, side: int) -> None:
    if now > before:
        return
    if side > before:
        raise ValueError(f"{name} sees every image at {before} pixels, it cannot take another size such as {side}")
    raise ValueError(f"{name} sees images at {before} pixels already: give a larger size than that, got {side}")
