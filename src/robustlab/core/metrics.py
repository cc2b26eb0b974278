"""Metrics of a training step."""

from __future__ import annotations

import torch
from torch import Tensor

from robustlab.core.types import Labels, Logits, Metrics


def measured(logits: Logits, loss: Tensor, y: Labels, **more: Tensor) -> Metrics:
    """Loss and accuracy, and other scalars by name, as numbers."""
    with torch.no_grad():
        values = {"loss": loss, "accuracy": (logits.argmax(dim=1) == y).float().mean(), **more}
        # One transfer for all numbers: each would wait for the GPU.
        numbers: list[float] = torch.stack([value.detach().float() for value in values.values()]).tolist()
    return dict(zip(values, numbers, strict=True))
