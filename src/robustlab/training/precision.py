"""The precision that a run takes: what was asked for, or what is faster where that was left open."""

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
"""What "auto" can come to."""


def recorded(folder: Path | None) -> Precision | None:
    """The precision that the last checkpoint in a run's directory was made in; None where there is none."""
    last = checkpoint.latest(folder) if folder is not None else None
    if last is None:
        return None
    try:
        return named(read_numbers(last).run.get("precision"))
    except CheckpointError:
        return None  # whoever reads the weights says what is wrong with it


def named(text: str | None) -> Precision | None:
    """The precision that a text speaks of, with quotes or without; None for any other."""
    said = (text or "").strip("'\"")
    return next((one for one in TAKEN if one == said), None)


def chosen(precision: Precision, device: str, before: Iterable[Precision | None] = ()) -> Precision:
    """What "auto" comes to; any other precision is itself.

    Args:
        precision: as asked for.
        device: that computes, its type or "auto".
        before: what was taken earlier for the same, if anything was: it stays, so that bits do.
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
    """The type of the device that is computed on."""
    if device != "auto":
        return torch.device(device).type
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return next((name for name, found in there.items() if found), "cpu")
