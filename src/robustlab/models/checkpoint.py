"""Weight files: our own safetensors, and other formats that are read without running code."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from robustlab.core.architecture import Architecture, metadata_of
from robustlab.core.errors import CheckpointError
from robustlab.core.kinds import typed
from robustlab.core.weights import bare, check_plain, differences, fitted, plain, put_in, state_of, tensors_of
from robustlab.models import foreign
from robustlab.models.architecture import read_architecture
from robustlab.runs.tensors import save_tensors, tensors_in


class Checkpoint(NamedTuple):
    """Content of a weight file."""

    weights: dict[str, Tensor]
    architecture: Architecture | None


@typed
def save(model: nn.Module, path: str | Path, *, metadata: dict[str, str] | None = None) -> None:
    """Writes weights and buffers as safetensors, in one step, with the architecture that ``load`` builds again.

    Args:
        model: if it came from ``load`` or is one of our own, the file names it. Inside ``torch.compile``,
            ``DataParallel`` or the like, the file is that of the model alone.
        path: of the file.
        metadata: further texts to be kept in it.

    Raises: CheckpointError if the file cannot be written, or cannot hold the weights (quantized, sparse, without
        values); an existing file stays.
    """
    try:
        save_tensors(Path(path), plain(state_of(model)), {**(metadata or {}), **metadata_of(model)})
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error


def read(path: str | Path) -> Checkpoint:
    """Reads a weight file without running or importing any code.

    Raises: CheckpointError if it is missing, truncated or damaged, or holds anything but weights.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(f"there is no checkpoint {file}")
    try:
        safe = file.suffix == ".safetensors" or foreign.is_safetensors(file)
        found = _read_safetensors(file) if safe else Checkpoint(foreign.read(file), None)
        check_plain(found.weights, "holds ")
    except ValueError as error:
        raise CheckpointError(f"{file} {error}") from error
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror or error}") from error
    return found


def _read_safetensors(file: Path) -> Checkpoint:
    try:
        weights, metadata = tensors_in(file)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} is truncated or damaged: {_first_line(error)}") from error
    try:
        return Checkpoint(weights, read_architecture(metadata))
    except ValueError as error:
        raise CheckpointError(
            f"{file} has an architecture that no model of robustlab has: {error}; save the weights again with "
            "robustlab.models.save, or without that entry"
        ) from error


def fill(model: nn.Module, weights: dict[str, Tensor], source: str | Path) -> None:
    """Copies weights into a model, also those saved in wrappers.

    Weights of the network alone also fit a model with its normalisation in front.

    Raises: CheckpointError if names, shapes or kinds of numbers differ; says which.
    """
    try:
        found = put_in(_goal(model, weights), weights)
    except RuntimeError as error:
        raise CheckpointError(f"{source} does not fit the model: {_first_line(error)}") from error
    if found:
        raise another(source, found)


def unfit(model: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Differences between weights and a model (with or without values), in words; empty: they fit."""
    state = tensors_of(_goal(model, weights))
    return differences(fitted(weights, state), state)


def pairs(model: nn.Module, weights: dict[str, Tensor]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of weights and of the model's tensors with the same names."""
    state = tensors_of(_goal(model, weights))
    named = fitted(weights, state)
    return [(tuple(named[name].shape), tuple(state[name].shape)) for name in named.keys() & state.keys()]


def another(source: str | Path, found: list[str]) -> CheckpointError:
    """The error for weights of another architecture, given the differences."""
    return CheckpointError(f"{source} is of another architecture: {'; '.join(found)}")


def _goal(model: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """The model, or the network behind its first layers if names are those of that one alone."""
    inner = getattr(bare(model), "model", None)
    if not isinstance(inner, nn.Module):
        return model
    fits = [fitted(weights, names).keys() == names for names in (set(tensors_of(model)), set(tensors_of(inner)))]
    return inner if fits == [False, True] else model


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
