"""Target classes: wrong ones, among those that a model can answer."""

from __future__ import annotations

import torch
from torch import Tensor

from robustlab.core.losses import answerable, classes_needed, finite_logits
from robustlab.core.names import class_numbers
from robustlab.core.random import Streams
from robustlab.core.types import Labels, Logits


def next_class(logits: Logits, y: Labels) -> Labels:
    """The first class after the label, modulo K, that the model can answer, (N,).

    Raises: ValueError if there is none.
    """
    order, there = _others(logits, y)
    return order.gather(1, there.int().argmax(dim=1, keepdim=True))[:, 0]


def random_class(logits: Logits, y: Labels, streams: Streams) -> Labels:
    """A random class other than the label that the model can answer, all equally likely, (N,).

    Raises: ValueError if there is none.
    """
    order, there = _others(logits, y)
    counts = there.sum(dim=1)
    whole = streams.integers(order.shape[1], ()).to(y)
    part = (streams.uniform((), 1, dtype=torch.float64) * counts).long()
    rank = torch.where(counts == order.shape[1], whole, part)
    place = (there & (there.cumsum(dim=1) == rank[:, None] + 1)).int().argmax(dim=1, keepdim=True)
    return order.gather(1, place)[:, 0]


def likeliest_class(logits: Logits, y: Labels) -> Labels:
    """The class of the highest logit other than the label, (N,).

    Raises: ValueError if the model can answer no other.
    """
    _others(logits, y)
    return finite_logits(logits).scatter(1, y[:, None], -torch.inf).argmax(dim=1)


def least_likely_class(logits: Logits, y: Labels | None = None) -> Labels:
    """The class of the lowest logit among those that the model can answer, without the label if given, (N,).

    Raises: ValueError if the model can answer no other than the label.
    """
    kept = logits.detach().masked_fill(~answerable(logits), torch.inf)
    if y is not None:
        _others(logits, y)
        kept = kept.scatter(1, y[:, None], torch.inf)
    return kept.argmin(dim=1)


def check_classes(y: object, logits: Logits) -> Labels:
    """Labels as class numbers of these logits (N, K), int64.

    Raises: ValueError for anything but whole numbers 0..K-1, one for each row.
    """
    numbers = class_numbers(y, len(logits)).long()
    needed = classes_needed(numbers)
    if needed > logits.shape[1]:
        raise ValueError(f"labels go up to {needed - 1}, but the model has {logits.shape[1]} classes")
    return numbers


def _others(logits: Logits, y: Labels) -> tuple[Tensor, Tensor]:
    """The classes after each label, modulo K, and which of them the model can answer, both (N, K - 1)."""
    classes = logits.shape[1]
    order = (y[:, None] + 1 + torch.arange(classes - 1, device=y.device)) % classes
    there = answerable(logits).gather(1, order)
    lonely = int((~there.any(dim=1)).sum())
    if lonely:
        raise ValueError(
            f"the model can answer no class but the label at {lonely} of {len(y)} inputs, so there is no "
            "target: leave these inputs out, or attack without a target"
        )
    return order, there
