"""Precision of training in a sweep: chosen for a new directory, and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from robustlab.core import RunError
from robustlab.runs.files import write_atomically
from robustlab.runs.json_files import object_in
from robustlab.studies.claim_engine.network import Network
from robustlab.training.precision import chosen, named
from robustlab.training.settings import Precision

PUBLISHED: Precision = "bf16"
"""Precision of the published results, and of all results without a record of it."""
_FILE = "precision.json"


def kept(home: Path, device: str) -> Precision:
    """The precision of all networks in a directory of results: the faster one, unless chosen before.

    Args:
        home: directory of results.
        device: its type or "auto".

    Raises: RunError if the record of it is damaged or cannot be written.
    """
    path = home / _FILE
    try:
        if path.exists():
            return _read(path)
        begun = any(home.glob("*/*.json"))
        taken = PUBLISHED if begun else chosen("auto", device)
        home.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"precision": taken}) + "\n")
    except OSError as error:
        raise RunError(f"{path} cannot be read or written: {error.strerror}") from error
    return taken


def _read(path: Path) -> Precision:
    try:
        found = named(str(object_in(path)["precision"]))
    except (ValueError, KeyError, TypeError):
        found = None
    if found is None:
        raise RunError(f"{path} names no precision: remove it with the results beside it, or choose another directory")
    return found


def trained_in(network: Network, precision: Precision) -> Network:
    """A network with the precision of the sweep, unless it has its own."""
    return replace(network, precision=precision) if network.precision == "auto" else network
