"""Inputs of one or several tensors, treated as one vector per example, and limits of their change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from robustlab.core import Streams
from robustlab.core.kinds import typed
from robustlab.core.names import example_names

Inputs: TypeAlias = Tensor | dict[str, Tensor] | tuple[Tensor, ...]
"""Inputs of a model: a tensor (N, ...), or several by name or position, each with examples first."""
Setting: TypeAlias = Tensor | float | None
"""Something for each input value, broadcast over it."""
Settings: TypeAlias = Setting | Mapping[str, Setting] | Sequence[Setting]
"""One setting for all tensors, or one for each, by name or place; names that are missing have None."""


@typed
@dataclass(frozen=True, eq=False)
class Limits:
    """Limits of the change of inputs.

    Args:
        mask: factor of the gradient, before its direction is taken; 0 keeps a value unchanged.
        low: smallest value allowed; smaller ones are raised to it, changed or not.
        high: largest value allowed.
    """

    mask: Settings = None
    low: Settings = None
    high: Settings = None


FREE = Limits()
"""Everything may change, as far as the step goes."""


def named(x: Inputs) -> dict[str | int, Tensor]:
    """The tensors of the inputs by name or position.

    Raises: ValueError for inputs without a tensor, or tensors that differ in their number of examples.
    """
    found: dict[str | int, Tensor] = {}
    found.update(x.items() if isinstance(x, dict) else enumerate(_sequence(x)))
    if kinds := {type(value).__name__ for value in found.values() if not isinstance(value, Tensor)}:
        raise ValueError(f"inputs are tensors with examples first, got {', '.join(sorted(kinds))}: use torch.as_tensor")
    sizes = {name: len(tensor) for name, tensor in found.items()}
    if not found or len(set(sizes.values())) > 1:
        raise ValueError(f"inputs are a tensor, or several with as many examples each, got {sizes}")
    return found


def rebuilt(like: Inputs, tensors: Mapping[str | int, Tensor]) -> Inputs:
    """Inputs of the same form with these tensors."""
    if isinstance(like, Tensor):
        return tensors[0]
    if isinstance(like, dict):
        return {name: tensors[name] for name in like}
    return tuple(tensors[place] for place in range(len(like)))


def leaf(value: Tensor) -> Tensor:
    """A detached tensor; with ``requires_grad`` if it is a float."""
    apart = value.detach()
    return apart.requires_grad_() if apart.is_floating_point() else apart


def streams_of(rows: Tensor, seed: int, ids: Tensor | None) -> Streams:
    """Random streams of some examples, named 0..N-1 by default.

    Raises: ValueError for ids that are no whole numbers, one for each example.
    """
    names = torch.arange(len(rows)) if ids is None else example_names(ids, len(rows))
    return Streams(seed, names.to(rows.device))


def check_movable(x: Inputs) -> None:
    """Refuses inputs that cannot be moved by small steps.

    Raises: ValueError if none of the tensors is of floating point.
    """
    kinds = {value.dtype for value in named(x).values()}
    if not any(kind.is_floating_point for kind in kinds):
        dtypes = ", ".join(sorted(map(str, kinds)))
        raise ValueError(
            f"inputs are {dtypes}, which have no neighbours nearby: give images as floats (x / 255), and for tokens "
            "the outputs of the embedding"
        )


def setting(settings: Settings, name: str | int, like: Tensor) -> Tensor | None:
    """Value of a setting for one tensor, in its dtype and on its device; None if it has none.

    Raises: ValueError if it does not fit the tensor.
    """
    if isinstance(settings, Mapping):
        settings = settings.get(str(name))
    elif isinstance(settings, Sequence):
        settings = settings[int(name)] if int(name) < len(settings) else None
    if settings is None:
        return None
    value = torch.as_tensor(settings, dtype=like.dtype, device=like.device)
    try:
        value.expand(like.shape)
    except RuntimeError as error:
        raise ValueError(f"a mask or limit {tuple(value.shape)} does not fit an input {tuple(like.shape)}") from error
    return value


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """All values of each example in a row (N, D)."""
    flat = [tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None] for tensor in tensors]
    return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)


def split(rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Rows (N, D) as tensors of these shapes."""
    parts = rows.split([tensor[0].numel() for tensor in like], dim=1)
    return [part.reshape(tensor.shape).to(tensor.dtype) for part, tensor in zip(parts, like, strict=True)]


def _sequence(x: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return x if isinstance(x, tuple) else (x,)
