"""Numbers of a checkpoint, and the checks of the file that holds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from robustlab.core import CheckpointError, Metrics
from robustlab.runs.files import sha256_of
from robustlab.runs.json_files import object_in

NUMBERS = "state.json"
FORMAT = 2
DIGEST = "sha256"
_SCALARS = (bool, int, float, str, type(None))
Scalar: TypeAlias = bool | int | float | str | list["Scalar"] | None


@dataclass(frozen=True)
class Numbers:
    """Everything about a checkpoint that is not a tensor."""

    run: dict[str, str]
    """Everything that decides the result, by name: a checkpoint belongs to no other run."""
    epochs: tuple[Metrics, ...]
    """The history so far; its length is the epoch."""
    groups: list[dict[str, Scalar]]
    """Options of the optimizer's parameter groups."""
    values: dict[str, Scalar]
    """Numbers in the optimizer's state that are not tensors, by parameter and name."""
    scaler: dict[str, Scalar]
    """State of the loss scaling in fp16."""
    surroundings: dict[str, str]
    """Conditions that may change the last bits: versions, threads, device."""


def with_digest(found: Mapping[str, object]) -> dict[str, object]:
    """All that the file of numbers holds, and its SHA-256."""
    return {**found, DIGEST: _digest(found)}


def _digest(found: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def read_numbers(path: Path) -> Numbers:
    """Reads the numbers of a checkpoint, and checks its digests.

    Raises: CheckpointError if it is damaged or of another format, or a file was changed.
    """
    try:
        found = object_in(path / NUMBERS)
        if found.pop("format", None) != FORMAT:
            raise CheckpointError(f"{path} was written by another version of robustlab: start the run anew elsewhere")
        digest = found.pop(DIGEST, None)  # an older version did not write it, nor the digests of files
        if digest not in (None, _digest({"format": FORMAT, **found})):
            raise ValueError(f"{NUMBERS} has another digest than when it was written")
        _check_files(path, found.pop("files", {}))
        return _numbers(found)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def _check_files(path: Path, files: object) -> None:
    """Checks the digests of files.

    Raises: ValueError naming the first that differs.
    """
    if not isinstance(files, dict):
        raise ValueError(f"the files in {NUMBERS} are not digests by name")
    for name, digest in files.items():
        if Path(name).name != name or sha256_of(path / name) != digest:
            raise ValueError(f"{name} has another digest than when it was written")


def _numbers(found: dict[str, object]) -> Numbers:
    """The numbers in a file, with their types checked.

    Raises: ValueError for anything else.
    """
    texts = {name: _of(found, name, dict, str) for name in ("run", "surroundings")}
    epochs = _of(found, "epochs", list, dict)
    if not all(isinstance(value, int | float) for epoch in epochs for value in epoch.values()):
        raise ValueError(f"the epochs in {NUMBERS} are not numbers")
    groups, others = (
        _of(found, "groups", list, dict),
        {n: _of(found, n, dict, (*_SCALARS, list)) for n in ("values", "scaler")},
    )
    if any("params" in group or not _plain_values(group.values()) for group in groups):
        raise ValueError(f"the groups in {NUMBERS} are not options of an optimizer")
    return Numbers(epochs=tuple(epochs), groups=groups, **texts, **others)


def _of(found: dict[str, object], name: str, kind: type, inner: type | tuple[type, ...]) -> Any:  # noqa: ANN401 -- JSON
    """A part of a file that is a list or an object of one kind of values."""
    part = found.get(name)
    values = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    if not isinstance(part, kind) or not all(isinstance(value, inner) for value in values):
        raise ValueError(f"{name!r} in {NUMBERS} is missing or of another kind")
    return part


def _plain_values(values: Iterable[object]) -> bool:
    """True if values are numbers, texts or None, or lists of such."""
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return all(isinstance(one, _SCALARS) for one in flat)


def check_memory(
    optimizer: torch.optim.Optimizer,
    memory: Mapping[int, Mapping[str, Tensor | Scalar]],
    groups: Sequence[Mapping[str, object]],
    numbers: Numbers,
) -> None:
    """Checks that a saved state fits an optimizer.

    Args:
        optimizer: that takes the state.
        memory: numbers and tensors by parameter and name.
        groups: present groups of the optimizer.
        numbers: of the file.

    Raises: ValueError for other options, or for the memory of other parameters.
    """
    for group, saved in zip(groups, numbers.groups, strict=True):
        own = {name: value for name, value in group.items() if name != "params"}
        if saved.keys() != own.keys() or not all(_alike(saved[name], value) for name, value in own.items()):
            raise ValueError(f"its options are not those of {type(optimizer).__name__}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, values in memory.items():
        size = parameters[index].numel() if 0 <= index < len(parameters) else -1
        if any(isinstance(value, Tensor) and value.numel() > max(size, 1) for value in values.values()) or size < 0:
            raise ValueError(f"its state of parameter {index} does not fit that parameter")


def _alike(saved: object, own: object) -> bool:
    """True if two options of an optimizer are of the same kind."""
    if isinstance(saved, list) and isinstance(own, list | tuple):
        return len(saved) == len(own) and all(map(_alike, saved, own))
    numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in (saved, own)]
    return all(numbers) or type(saved) is type(own)


def damaged(path: Path, error: Exception) -> CheckpointError:
    """The error for a checkpoint that cannot be used."""
    return CheckpointError(
        f"{path} is truncated or damaged ({_first_line(error)}): remove it to resume from the checkpoint "
        "before it, or start anew"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
