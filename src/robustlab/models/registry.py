"""Networks of our own by name, each registered where it is defined."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from robustlab.core.kinds import typed
from robustlab.core.registry import Registry

MakeModel = Callable[..., nn.Module]
"""Makes a network from any of ``classes``, ``channels`` and ``size``."""
_FIRST = ("shallow-cnn", "batchnorm-cnn", "residual-cnn", "inverted-cnn", "patch-mixer")
MODELS: Registry[MakeModel] = Registry("model", "robustlab.models", first=_FIRST)
"""Networks that a weight file may name. There are no entry points: a file must not choose what is imported."""


@typed
def register(name: str, make: MakeModel) -> None:
    """Adds a network, so that ``load`` and weight files know its name.

    Args:
        name: what ``load`` knows it by.
        make: class or function of an ``nn.Module`` for images in [0, 1], with the arguments ``classes``, ``channels``
            and ``size``; it calls ``core.architecture.described`` at its end.

    Raises: ValueError if the name is taken.
    """
    MODELS.register(name, make)
