"""Validation without an attack: accuracy and loss on held-out examples."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from robustlab.core import Examples, Metrics
from robustlab.core.kinds import typed
from robustlab.training.stream import fetched


@typed
@dataclass(frozen=True)
class HeldOut:
    """Accuracy and mean cross-entropy on held-out examples, as ``validate`` of ``fit``.

    Args:
        examples: that are not in the training data (``robustlab.data.apart`` divides them).
        batch_size: examples at a time.

    Example:
        >>> from robustlab.data import InMemory
        >>> held = InMemory("two points", ("left", "right"), torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]))
        >>> model = nn.Linear(1, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[-9.0], [9.0]]))
        >>> HeldOut(held)(model)["accuracy"]
        1.0
    """

    examples: Examples
    batch_size: int = field(default=256, repr=False)

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> Metrics:
        """Passes all examples through the model, in the mode that it is in."""
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        right, loss = 0, 0.0
        for ids in torch.arange(len(self.examples)).split(self.batch_size):
            batch = fetched(self.examples, ids, 0)
            logits, y = model(batch.x.to(device)), batch.y.to(device)
            right += int((logits.argmax(dim=1) == y).sum())
            loss += float(F.cross_entropy(logits.float(), y, reduction="sum"))
        return {"accuracy": right / len(self.examples), "loss": loss / len(self.examples)}
