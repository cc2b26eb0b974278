"""Data of a user as examples for the model under evaluation."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from robustlab.core import Examples, Model, frozen
from robustlab.data.framing import framing_for
from robustlab.data.wrapped import Given, Wanted, brought
from robustlab.evaluation.subject import whereabouts


def for_model(model: Model, data: Given) -> Examples:
    """Makes a data set of the data that a user gives.

    Images of Pillow and files get the size and the channels that the model takes (timm's published
    configuration, or the architecture of ``robustlab.models.load``); a data set without class
    names has as many classes as the model.

    Args:
        model: from inputs (N, ...) to logits (N, K); its mode is restored.
        data: labelled examples, or what ``robustlab.data.examples`` makes some of.

    Raises:
        ValueError: it cannot be a data set, with the reason.
        DataError: a folder or file cannot be read.
    """
    if isinstance(data, Examples):
        return data
    return brought(data, Wanted(framing=framing_for(model), otherwise=partial(_width, model)))


def _width(model: Model, x: Tensor) -> int:
    """The number of logits for an input (C, H, W).

    Raises: ValueError if the model does not take it.
    """
    home, dtype = whereabouts(model)
    try:
        with frozen(model, training=False), torch.no_grad():
            return int(model(x[None].to(home, dtype)).shape[1])
    except (RuntimeError, AttributeError, IndexError, TypeError) as error:
        raise ValueError(
            f"neither the data nor the model (called on an input of shape {tuple(x.shape)}) shows the number of "
            "classes: give robustlab.data.examples(data, classes=...)"
        ) from error
