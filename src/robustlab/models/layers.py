"""First layers: normalisation and enlargement inside the model, so that eps stays in pixel units."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.fx
from torch import Tensor, nn

from robustlab.core.kinds import typed
from robustlab.models.architecture import architecture_of, described


# Whatever is wrapped is one call in a traced copy of a model: it sees tensors, and may ask for their shape.
@torch.fx.wrap
def standardised(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Inputs minus a mean, divided by a standard deviation, per channel: (x - mean) / std.

    Args:
        x: inputs (N, C, ...).
        mean: C values.
        std: C values, > 0.

    Raises: ValueError for inputs of another number of channels, or without channels.
    """
    if x.ndim < 2 or x.shape[1] != mean.numel():
        raise ValueError(
            f"mean and std are for {mean.numel()} channels, but the inputs {tuple(x.shape)} have "
            f"{x.shape[1] if x.ndim > 1 else 'no'} channels on axis 1: give (N, {mean.numel()}, ...){_hint(x, mean)}"
        )
    per_channel = (-1, *[1] * (x.ndim - 2))
    return (x - mean.view(per_channel)) / std.view(per_channel)


def _hint(x: Tensor, mean: Tensor) -> str:
    """Hint for bringing inputs to the form (N, C, ...)."""
    if x.shape[:1] == (mean.numel(),):
        return "; a single input becomes a batch with x[None]"
    return "; channels at the end are moved with x.movedim(-1, 1)" if x.shape[-1:] == (mean.numel(),) else ""


@typed
class Normalise(nn.Module):
    """Subtracts a mean and divides by a standard deviation, per channel, in inputs (N, C, ...) of any number of axes.

    (x - mean) / std

    Args:
        mean: per channel, in [0, 1] units.
        std: per channel, > 0.

    Raises: ValueError if they differ in number, or a std is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not len(mean) or not all(value > 0 for value in std):
            raise ValueError(f"mean {tuple(mean)} and std {tuple(std)}: give one of each per channel, every std > 0")
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (N, C, ...) in [0, 1], such as images, signals (N, C, L) or rows (N, C), to the network's own units.

        Raises: ValueError for another number of channels.
        """
        return standardised(x, self.mean, self.std)


@torch.fx.wrap
def enlarged(x: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) to (N, C, side, side), bilinearly.

    Raises: ValueError if they are no images.
    """
    if x.ndim != 4:
        raise ValueError(f"only images (N, C, H, W) can be enlarged to {side} pixels, got inputs {tuple(x.shape)}")
    return nn.functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


class Enlarge(nn.Module):
    """Enlarges images to a square of ``side`` pixels, bilinearly.

    Args:
        side: height and width of the result, in pixels.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to (N, C, side, side)."""
        return enlarged(x, self.side)

    def extra_repr(self) -> str:
        """The size, which is part of the identity of runs and features."""
        return f"side={self.side}"


@typed
def normalised(model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """The model with normalisation as its first layer: the result takes images in [0, 1].

    Args:
        model: trained on inputs (x - mean) / std.
        mean: per channel, in [0, 1] units.
        std: per channel, in [0, 1] units, > 0.

    Returns: a module that shares the model's weights; ``.model`` is the model itself.
    Raises: ValueError if the model normalises already, or mean and std do not go together.
    """
    if any(isinstance(part, Normalise) for part in model.modules()):
        raise ValueError("the model normalises its inputs already: use it without another normalisation")
    whole = nn.Sequential(OrderedDict(normalise=Normalise(mean, std), model=model))
    whole.training = model.training
    inner = architecture_of(model)
    return described(whole, {**inner, "mean": list(mean), "std": list(std)}) if inner else whole
