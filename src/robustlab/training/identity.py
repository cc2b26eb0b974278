"""Identity of a run: everything that decides its result, as text; only the same run may be resumed."""

from __future__ import annotations

import hashlib
import re

import torch
from torch import Tensor, nn

from robustlab.core import Examples, Recipe, subset
from robustlab.core.weights import bare, state_of
from robustlab.runs.identity import values_sha256
from robustlab.training import seeds
from robustlab.training.settings import Settings

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_PROBED = 64  # examples that identify a data set without a hash of its own


def run_of(
    model: nn.Module, recipe: Recipe, examples: Examples, settings: Settings, processes: int = 1
) -> dict[str, str]:
    """The run by name of its parts; the weights are not among them, as training changes them."""
    parts = {
        "model": _structure(model),
        "recipe": repr(recipe),
        "data": f"{examples.name}, {len(examples)} examples, {content(examples)}",
        "processes": str(processes),
        **settings.described(),
    }
    return {name: _ADDRESS.sub("", text) for name, text in parts.items()}


def surroundings(device: torch.device) -> dict[str, str]:
    """Conditions that may change the last bits, but not the run."""
    return {"torch": torch.__version__, "threads": str(torch.get_num_threads()), "device": device.type}


def _structure(model: nn.Module) -> str:
    shapes = [
        (name, tuple(value.shape), str(value.dtype)) if isinstance(value, Tensor) else (name, type(value).__name__)
        for name, value in state_of(model).items()
    ]
    inner = bare(model)
    layers = _ADDRESS.sub("", repr(inner))  # with dropout, activations and the size of images, which shapes do not show
    found = hashlib.sha256(f"{shapes} {layers}".encode()).hexdigest()
    return f"{type(inner).__name__}, {len(shapes)} tensors, {found[:16]}"


def content(examples: Examples) -> str:
    """Digest of a data set: its own, or one of a sample."""
    with seeds.private_generators(torch.device("cpu")) as reseed:
        reseed(0)  # for data that draws while it is read
        known = getattr(examples, "sha256", None)
        if isinstance(known, str):
            return known
        batch = examples.batch(subset(len(examples), min(_PROBED, len(examples))))
    return values_sha256((batch.x, batch.y))
