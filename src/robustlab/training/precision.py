"""Precision of a run: the given one, or the faster one for "auto"."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import torch

from robustlab.core import CheckpointError
from robustlab.core.speed import bf16_is_faster
from robustlab.training import checkpoint
from robustlab.training.checkpoint_numbers import read_numbers
from robustlab.training.settings import Precision

_LOG = logging.getLogger(__name__)
TAKEN: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
"""Precisions that "auto" may choose."""


def recorded(folder: Path | None) -> Precision | None:
    """The precision that the last checkpoint in a run's directory was made in; None where there is none."""
    last = checkpoint.latest(folder) if folder is not None else None
    if last is None:
        return None
    try:
        return named(read_numbers(last).run.get("precision"))
    except CheckpointError:
        return None  # the reader of the weights reports the damage


def named(text: str | None) -> Precision | None:
    """The precision that a text names, with quotes or without; None for any other text."""
    name = (text or "").strip("'\"")
    return next((one for one in TAKEN if one == name), None)


def chosen(precision: Precision, device: str, before: Iterable[Precision | None] = ()) -> Precision:
    """The precision chosen for "auto"; any other is returned.

    Args:
        precision: of the settings.
        device: that computes, its type or "auto".
        before: precisions chosen earlier for the same run; the first one there is stays, so that the bits do.
    """
    if precision != "auto":
        return precision
    kept = next((one for one in before if one is not None), None)
    if kept is not None:
        return kept
    place = _type(device)
    taken: Precision = "bf16" if bf16_is_faster(place) else "fp32"
    why = "it is faster than fp32" if taken == "bf16" else "bf16 is not faster"
    _LOG.info("precision auto: %s, as %s on this %s", taken, why, "processor" if place == "cpu" else place)
    return taken


def _type(device: str) -> str:
    """Type of the device that computes."""
    if device != "auto":
        return torch.device(device).type
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return next((name for name, found in there.items() if found), "cpu")
