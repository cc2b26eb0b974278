"""Attribution maps: how much each input value speaks for the class that is explained."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustlab.core.kinds import typed


@typed
@dataclass(frozen=True)
class Maps:
    """Attributions of some examples by one method.

    Args:
        values: one number per input value (N, ...); above 0 speaks for the class, below 0 against it.
        target: the explained classes (N,).
        method: name of the method, with its settings.
        change: what the values of an example should add up to (N,), score of the input less that of the baseline; None
            for a method that promises no sum.
    """

    values: Tensor
    target: Tensor
    method: str
    change: Tensor | None = None

    def __repr__(self) -> str:
        return f"Maps({self.method}, {' x '.join(str(side) for side in self.values.shape)})"

    def __len__(self) -> int:
        return self.values.shape[0]

    def __getitem__(self, rows: Tensor | slice) -> Maps:
        """The maps of some of the examples."""
        change = None if self.change is None else self.change[rows]
        return replace(self, values=self.values[rows], target=self.target[rows], change=change)

    @property
    def gap(self) -> Tensor | None:
        """Sum of the values less ``change`` (N,), float64; 0 for a complete map. None without a promised sum."""
        return None if self.change is None else self.values.double().flatten(1).sum(1) - self.change.double()

    @property
    def per_pixel(self) -> Tensor:
        """Sum over the channels, which are axis 1 (N, ...): (N, H, W) for images."""
        return self.values.sum(1) if self.values.ndim > 2 else self.values

    @property
    def strength(self) -> Tensor:
        """Sum over the channels of the absolute values, at least 0: (N, H, W) for images."""
        return self.values.abs().sum(1) if self.values.ndim > 2 else self.values.abs()

    @staticmethod
    def joined(parts: list[Maps]) -> Maps:
        """Maps of several calls of one method as one."""
        changes = [part.change for part in parts if part.change is not None]
        return Maps(
            torch.cat([part.values for part in parts]),
            torch.cat([part.target for part in parts]),
            parts[0].method,
            torch.cat(changes) if len(changes) == len(parts) else None,
        )
