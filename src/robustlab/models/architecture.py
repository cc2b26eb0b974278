"""What a model is called and how big it is: enough to build it again, kept with its weights."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from torch import nn

Architecture: TypeAlias = dict[str, str | int | list[float]]
"""name, classes, channels, size; mean and std where a normalisation was put in front; activation if it was swapped;
from_channels and from_size of the images where first layers bring these to what the network takes.
"""
_M = TypeVar("_M", bound=nn.Module)


def described(model: _M, architecture: Architecture) -> _M:
    """The same model, which from now on knows its architecture as ``model.architecture``."""
    vars(model)["architecture"] = architecture
    return model


def architecture_of(model: nn.Module) -> Architecture | None:
    """What ``described`` said of the model, or None."""
    found = getattr(model, "architecture", None)
    return found if isinstance(found, dict) else None
