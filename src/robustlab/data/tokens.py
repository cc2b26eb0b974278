"""Texts as numbers of tokens in memory, for training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.core.types import Batch
from robustlab.data.memory import InMemory, check_ids, check_labels


@typed
@dataclass(frozen=True, eq=False)
class Tokens:
    """Labelled texts as token numbers, which stay whole numbers: no unit, no bounds, no gradient.

    Args:
        name: in reports.
        classes: names of the K classes, in the order of their numbers.
        x: token numbers (N, L), int64, as a model's ``encode`` gives them.
        y: labels (N,), integers in 0..K-1.

    Raises: ValueError for inputs of another kind or shape, or labels that do not fit.
    """

    name: str
    classes: tuple[str, ...]
    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.x.dtype is not torch.int64 or not len(self.x):
            raise ValueError(
                f"token numbers are {self.x.dtype} of shape {tuple(self.x.shape)}: give int64 of shape (N, L), at "
                "least one text"
            )
        check_labels(self.y, len(self.x), len(self.classes))

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, ids: Tensor) -> Batch:
        """Texts by their number 0..N-1, in the given order."""
        check_ids(ids, len(self), self.name)
        return Batch(self.x.index_select(0, ids), self.y.index_select(0, ids).long(), ids)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of class names, shapes and values."""
        digest = hashlib.sha256(json.dumps([self.classes, list(self.x.shape)]).encode())
        for part in (self.x, self.y.long()):
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()


RESIDENT: TypeAlias = InMemory | Tokens
"""Data sets that are in memory as a whole, and read without any draw."""
