"""Weights in files: safetensors of our own, or anybody's that ``torch.load`` reads without running code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robustlab.core.errors import CheckpointError
from robustlab.core.files import replace_atomically
from robustlab.models.architecture import Architecture, architecture_of

_KEY = "architecture"
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
_SHOWN = 3  # differences named in a message


class Checkpoint(NamedTuple):
    """What a weight file holds."""

    weights: dict[str, Tensor]
    architecture: Architecture | None


def save(model: nn.Module, path: str | Path, *, metadata: dict[str, str] | None = None) -> None:
    """Writes weights and buffers as safetensors, in one step, with the architecture that ``load`` builds again.

    Args:
        model: if it came from ``load`` or is one of our own, the file says what it is.
        path: of the file.
        metadata: further texts to be kept in it.

    Raises: CheckpointError if the file cannot be written; what stood there is still there.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    known = architecture_of(model)
    texts = {**(metadata or {}), **({_KEY: json.dumps(known)} if known else {})}
    # Copies, because tied weights share storage, which the format does not allow.
    weights = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    try:
        replace_atomically(Path(path), lambda part: save_file(weights, part, metadata=texts))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error


def read(path: str | Path) -> Checkpoint:
    """Reads a weight file; no code in it is run.

    Raises: CheckpointError if it is missing, truncated, damaged, or holds something other than weights.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(f"there is no checkpoint {file}")
    return _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)


def _read_safetensors(file: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            weights = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is truncated or damaged: {error}") from error
    return Checkpoint(weights, json.loads(metadata[_KEY]) if _KEY in metadata else None)


def _read_torch(file: Path) -> Checkpoint:
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} holds more than weights, or is damaged; it is not unpickled, because that would run its code. "
            "Save model.state_dict() instead"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{file} is truncated or damaged: {error}") from error
    for wrapper in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{file} does not hold a dictionary of tensors: save model.state_dict()")
    return Checkpoint({key.removeprefix("module."): value for key, value in found.items()}, None)


def fill(model: nn.Module, weights: dict[str, Tensor], source: str | Path) -> None:
    """Puts weights into a model; those of the network alone fit a model with its normalisation in front, too.

    Raises: CheckpointError if names or shapes differ; says which.
    """
    inner = getattr(model, "model", None)
    goal = inner if isinstance(inner, nn.Module) and weights.keys() == inner.state_dict().keys() else model
    differences = _differences(weights, goal.state_dict())
    if differences:
        raise CheckpointError(f"{source} is of another architecture: {'; '.join(differences)}")
    goal.load_state_dict(weights)


def _differences(weights: dict[str, Tensor], state: dict[str, Tensor]) -> list[str]:
    shared = weights.keys() & state.keys()
    other = [
        f"{key} is {tuple(weights[key].shape)}, not {tuple(state[key].shape)}"
        for key in state
        if key in shared and weights[key].shape != state[key].shape
    ]
    groups = {
        "lacks": [key for key in state if key not in shared],
        "has besides": [key for key in weights if key not in shared],
        "differs in shape:": other,
    }
    return [f"it {verb} {_listed(found)}" for verb, found in groups.items() if found]


def _listed(found: list[str]) -> str:
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
