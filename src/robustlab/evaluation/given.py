"""The data as a user gives them, made examples for the model that is to be evaluated on them."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from robustlab.core import Examples, Model, frozen
from robustlab.data.framing import framing_for
from robustlab.data.wrapped import Given, Wanted, brought
from robustlab.evaluation.subject import whereabouts


def for_model(model: Model, data: Given) -> Examples:
    """A data set of what the user gives.

    Images of Pillow and files get the size and the channels that the model says it takes (timm's published
    configuration, or the architecture that ``robustlab.models.load`` knows); a data set whose classes nothing else says
    has as many as the model.

    Args:
        model: from inputs (N, ...) to logits (N, K); left as it was found.
        data: labelled examples, or what ``robustlab.data.examples`` makes some of.

    Raises:
        ValueError: it cannot be a data set; says why.
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
            f"neither the data nor the model (asked about an input of shape {tuple(x.shape)}) say how many classes "
            "there are: give robustlab.data.examples(data, classes=...)"
        ) from error
