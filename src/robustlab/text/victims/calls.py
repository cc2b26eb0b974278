"""Calls of torch modules without a trace on them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from robustlab.core.modes import frozen


def run(model: nn.Module, given: Tensor | Mapping[str, Tensor]) -> Tensor:
    """Scores of a module in eval mode, without a trace on it.

    Raises: ValueError if there are none in its answer.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with frozen(model, training=False), torch.no_grad():
        if isinstance(given, Tensor):
            return logits_in(model(given.to(device)))
        return logits_in(model(**{key: value.to(device) for key, value in given.items()}))


def logits_in(answer: object) -> Tensor:
    """The tensor of scores in the answer of a module: itself, its ``logits``, or its first part.

    Raises: ValueError if there is none.
    """
    found = answer.get("logits") if isinstance(answer, Mapping) else getattr(answer, "logits", None)
    if found is None:
        found = answer[0] if isinstance(answer, tuple | list) and answer else answer
    if not isinstance(found, Tensor):
        raise ValueError(f"the model returned a {type(answer).__name__}, expected logits (N, K) as a tensor or .logits")
    return found
