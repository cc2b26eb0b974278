"""Baselines: the input from which a method counts, such as a black image."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any, TypeAlias

import torch
from torch import Tensor

from robustlab.core.kinds import seen

Baseline: TypeAlias = float | Tensor
"""One number for all input values, or a tensor that broadcasts to one example."""


def baseline_of(baseline: Baseline, x: Tensor) -> Tensor:
    """The baseline of some inputs, in their dtype and on their device, (1, ...).

    Args:
        baseline: a number or a tensor.
        x: inputs (N, ...).

    Raises: ValueError for a tensor that does not broadcast to one example.
    """
    one = torch.as_tensor(baseline).detach().to(x.device, x.dtype)
    sizes = zip(one.shape[::-1], (*x.shape[:0:-1], 1), strict=False)
    if one.ndim > x.ndim or any(have not in (1, want) for have, want in sizes):
        raise ValueError(
            f"baseline {tuple(one.shape)} does not broadcast to one input {tuple(x.shape[1:])}: "
            "give a number, or one value per channel as (C, 1, 1), or a whole input"
        )
    return one.broadcast_to(1, *x.shape[1:])


def check_baseline(door: str, baseline: Baseline) -> None:
    """Checks the baseline of a method.

    Raises: ValueError for a baseline that is NaN, infinite or empty.
    """
    values = torch.as_tensor(baseline)
    if not values.numel() or values.is_complex() or not bool(values.isfinite().all()):
        raise ValueError(f"{door}: baseline must be finite numbers, got {seen(baseline)}")


def spelled(method: Any) -> str:  # noqa: ANN401 -- any dataclass
    """A method as it was called, with a digest in place of the values of a tensor."""
    values = ", ".join(f"{one.name}={_short(getattr(method, one.name))}" for one in fields(method))
    return f"{type(method).__name__}({values})"


def _short(value: object) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    kept = value.detach().cpu().contiguous()
    digest = hashlib.sha256(kept.double().numpy().tobytes()).hexdigest()[:8]
    return f"<{'x'.join(map(str, kept.shape)) or 1} {str(kept.dtype).removeprefix('torch.')} {digest}>"
