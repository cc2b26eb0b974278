"""Texts for the training loop, and their validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from robustlab.core import Metrics, TextModel
from robustlab.core.kinds import typed
from robustlab.data import Sentences, Tokens

_MOST = 256


@typed
def tokens(model: nn.Module, sentences: Sentences) -> Tokens:
    """The data set of token numbers that a text model is trained on.

    Args:
        model: one with its own tokenizer, such as ``models.WordCNN``.
        sentences: texts with labels.
    """
    x = cast(TextModel, model).encode(sentences.texts)
    return Tokens(sentences.name, sentences.classes, x, torch.from_numpy(sentences.labels))


@typed
def accuracy_on(sentences: Sentences) -> Callable[[nn.Module], Metrics]:
    """A validation for ``fit``: accuracy and log loss on some texts."""

    def validate(model: nn.Module) -> Metrics:
        data = tokens(model, sentences)
        device = next(p.device for p in model.parameters())
        with torch.no_grad():
            logits = torch.cat([_logits(model, x.to(device)) for x in data.x.split(_MOST)])
        loss = nn.functional.cross_entropy(logits, data.y)
        return {"accuracy": float((logits.argmax(dim=1) == data.y).double().mean()), "loss": float(loss)}

    return validate


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    logits: Tensor = model(x)
    return logits.cpu()
