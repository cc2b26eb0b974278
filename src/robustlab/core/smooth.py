"""ReLU with the derivative of a smooth activation, where that is switched on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from robustlab.core.kinds import typed


class SmoothGradient(nn.Module):
    """ReLU in the forward pass; in the backward pass the derivative of a smooth activation, where that is switched on.

    Args:
        activation: the smooth one.
    """

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation
        self.on = True

    def forward(self, x: Tensor) -> Tensor:
        """Values of any shape."""
        if not self.on:
            return x.relu()
        smooth: Tensor = self.activation(x)
        return x.relu().detach() + (smooth - smooth.detach())


@typed
@contextmanager
def smooth_gradients(model: nn.Module, *, on: bool) -> Iterator[None]:
    """Switches the smooth derivative of ``SmoothGradient`` layers on or off inside the block, then restores it.

    A search twin that is made inside the block keeps the setting.
    """
    parts = smooth_parts(model)
    before = [part.on for part in parts]
    for part in parts:
        part.on = on
    try:
        yield
    finally:
        for part, was in zip(parts, before, strict=True):
            part.on = was


def smooth_parts(model: nn.Module) -> tuple[SmoothGradient, ...]:
    """Activations of a model with a derivative that can be switched."""
    return tuple(part for part in model.modules() if isinstance(part, SmoothGradient))
