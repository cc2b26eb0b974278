"""First layers: they bring images in [0, 1] to what a network was trained on, so that eps stays in pixel units."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustlab.models.architecture import architecture_of, described


class Normalise(nn.Module):
    """Subtracts a mean and divides by a standard deviation, per channel.

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
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise ValueError(f"mean {tuple(mean)} and std {tuple(std)}: give one of each per channel, every std > 0")
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the network's own units."""
        return (x - self.mean) / self.std


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
        return nn.functional.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)

    def extra_repr(self) -> str:
        """The size, by which runs and features are told from others."""
        return f"side={self.side}"


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
        raise ValueError("the model normalises its inputs already: doing it twice would ruin its accuracy")
    whole = nn.Sequential(OrderedDict(normalise=Normalise(mean, std), model=model))
    whole.training = model.training
    inner = architecture_of(model)
    return described(whole, {**inner, "mean": list(mean), "std": list(std)}) if inner else whole
