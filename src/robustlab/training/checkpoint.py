"""Checkpoints: one directory per complete epoch, put in place in one step, without anything that could run code.

``epoch-0003/model.safetensors`` are the weights (``robustlab.models.load`` reads them), ``average.safetensors`` and
``best.safetensors`` their average and those of the best epoch, if there are any, ``state.safetensors`` holds the state
of the optimizer and of the recipe, ``state.json`` the numbers, the history and the identity of the run, with the
SHA-256 of each file and of itself.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from robustlab.core import CheckpointError, RecipeState
from robustlab.core.architecture import metadata_of
from robustlab.core.kinds import typed
from robustlab.core.weights import differences as unlike
from robustlab.core.weights import fitted, own_name, plain, put_in, renamed
from robustlab.runs.files import sha256_of, whole_folder
from robustlab.runs.identity import state_digest
from robustlab.runs.tensors import save_tensors, tensors_in
from robustlab.training.checkpoint_numbers import FORMAT, NUMBERS, Numbers, Scalar, check_memory, damaged, with_digest

MODEL, AVERAGE, BEST = "model.safetensors", "average.safetensors", "best.safetensors"
STATE = "state.safetensors"
_OPTIMIZER, _RECIPE = "optimizer/", "recipe/"
_EPOCH = re.compile(r"epoch-(\d{4,})")


@typed
def latest(out: str | Path) -> Path | None:
    """The checkpoint of the last complete epoch in a run's directory, if there is one."""
    found = _checkpoints(Path(out))
    return found[-1] if found else None


def _checkpoints(out: Path) -> list[Path]:
    """All checkpoints of a run, the oldest first."""
    found = {int(match[1]): path for path in out.glob("epoch-*") if (match := _EPOCH.fullmatch(path.name))}
    return [found[epoch] for epoch in sorted(found)]


def name_of(epoch: int) -> str:
    """Name of the checkpoint of an epoch."""
    return f"epoch-{epoch:04d}"


def write(
    final: Path,
    model: nn.Module,
    held: Mapping[str, Mapping[str, Tensor]],
    optimizer: torch.optim.Optimizer,
    states: Sequence[RecipeState],
    numbers: Numbers,
) -> None:
    """Writes the checkpoint of one epoch.

    Args:
        final: its directory, which is put in place in one step.
        model: whose architecture it is.
        held: weights by the name of their file: ``MODEL``, ``AVERAGE``, ``BEST``.
        optimizer: whose state is saved.
        states: of the recipe in each process.
        numbers: everything that is not a tensor.

    Raises: CheckpointError if it cannot be written; the previous one is kept.
    """
    memory = _optimizer_tensors(optimizer)
    for rank, state in enumerate(states):
        memory |= _prefixed(f"{_RECIPE}{rank}/", state)
    try:
        with whole_folder(final) as part:
            _write_files(part, model, held, memory, numbers)
    except OSError as error:
        raise CheckpointError(
            f"{final} cannot be written: {error.strerror or error}; earlier checkpoints are kept"
        ) from error


def forget(out: Path, keep: int) -> None:
    """Removes the checkpoints of a run that are older than the ``keep`` last."""
    for old in _checkpoints(out)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def _write_files(
    folder: Path,
    model: nn.Module,
    held: Mapping[str, Mapping[str, Tensor]],
    memory: Mapping[str, Tensor],
    numbers: Numbers,
) -> None:
    metadata = metadata_of(model)
    for name, weights in held.items():
        save_tensors(folder / name, plain(renamed(model, weights)), metadata, durable=False)
    save_tensors(folder / STATE, plain(memory), durable=False)
    files = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
    models = {name: state_digest(renamed(model, weights)) for name, weights in held.items()}
    head = {"format": FORMAT, "files": files, "models": models}
    (folder / NUMBERS).write_text(json.dumps(with_digest({**head, **vars(numbers)}), indent=1))


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{_OPTIMIZER}{index}/{name}": value
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def optimizer_numbers(optimizer: torch.optim.Optimizer) -> tuple[list[dict[str, Scalar]], dict[str, Scalar]]:
    """State of an optimizer without its tensors: options of its groups, and numbers by "parameter/name".

    Raises: CheckpointError if JSON cannot represent it.
    """
    whole = optimizer.state_dict()
    groups = [{name: value for name, value in group.items() if name != "params"} for group in whole["param_groups"]]
    values = {
        f"{index}/{name}": value
        for index, found in whole["state"].items()
        for name, value in found.items()
        if not isinstance(value, Tensor)
    }
    try:
        json.dumps([groups, values])
    except TypeError as error:
        raise CheckpointError(f"the state of {type(optimizer).__name__} cannot be saved: {error}") from error
    return groups, values


def read(path: Path, model: nn.Module, others: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Restores a model, and further weights by name, from a checkpoint.

    Raises: CheckpointError if it is damaged, or of another model.
    """
    wrong = put_in(model, _load(path, MODEL))
    if wrong:
        raise CheckpointError(f"{path} is of another model: {'; '.join(wrong)}")
    for name, weights in others.items():
        own = {key: value for key, value in weights.items() if own_name(model, key) is not None}
        found = fitted(_load(path, name), own)
        wrong = unlike(found, own)
        if wrong:
            raise CheckpointError(f"{path / name} is of another model: {'; '.join(wrong)}")
        for key, value in own.items():
            value.copy_(found[key])


def read_memory(path: Path, optimizer: torch.optim.Optimizer, state: RecipeState, rank: int, numbers: Numbers) -> None:
    """Restores the optimizer, and the state of the recipe in one process, from a checkpoint.

    Raises: CheckpointError if it is damaged, or of another recipe.
    """
    memory, prefix = _load(path, STATE), f"{_RECIPE}{rank}/"
    remembered = {name.removeprefix(prefix): value for name, value in memory.items() if name.startswith(prefix)}
    if remembered.keys() != state.keys():
        raise CheckpointError(f"{path} holds the recipe state {sorted(remembered)}, expected {sorted(state)}")
    known = {name: value for name, value in state.items() if value.numel()}  # an empty tensor takes any shape later
    wrong = unlike({name: remembered[name] for name in known}, known)
    if wrong:
        raise CheckpointError(f"{path} holds another recipe state: {'; '.join(wrong)}")
    for name, value in remembered.items():
        state[name] = value.to(state[name].device)
    try:
        _fill_optimizer(optimizer, memory, numbers)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise damaged(path, error) from error


def _load(path: Path, name: str) -> dict[str, Tensor]:
    try:
        return tensors_in(path / name)[0]
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def _fill_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], numbers: Numbers) -> None:
    per_parameter: dict[int, dict[str, Tensor | Scalar]] = {}
    named = {n.removeprefix(_OPTIMIZER): v for n, v in tensors.items() if n.startswith(_OPTIMIZER)}
    for key, value in {**named, **numbers.values}.items():
        index, _, name = key.partition("/")
        per_parameter.setdefault(int(index), {})[name] = value
    groups = cast("list[dict[str, object]]", optimizer.state_dict()["param_groups"])
    check_memory(optimizer, per_parameter, groups, numbers)
    for group, saved in zip(groups, numbers.groups, strict=True):
        group.update({name: tuple(v) if isinstance(v, list) else v for name, v in saved.items()})
    optimizer.load_state_dict({"state": per_parameter, "param_groups": groups})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # In the memory layout of the weight, as before: fused kernels read both in the same order.
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
