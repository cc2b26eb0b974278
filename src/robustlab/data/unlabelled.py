"""Data sets without their labels, for training on unlabelled data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.core.random import subset
from robustlab.core.types import Batch, Examples
from robustlab.data.splits import Part
from robustlab.data.tokens import RESIDENT

_HASHED, _READ = 256, 1000


@typed
@dataclass(frozen=True, eq=False)
class WithoutLabels:
    """The inputs of a data set; every label is replaced by 0, unread.

    Args:
        whole: the data set.
    """

    whole: Examples

    @property
    def name(self) -> str:
        """Name of the data set."""
        return f"{self.whole.name} (without labels)"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the data set."""
        return self.whole.classes

    def __len__(self) -> int:
        return len(self.whole)

    def batch(self, ids: Tensor) -> Batch:
        """Inputs by their number, with the label 0."""
        return Batch(self.whole.batch(ids).x, torch.zeros(len(ids), dtype=torch.int64), ids)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of length and inputs: of all where they are in memory, else of a fixed sample of 256."""
        count = len(self)
        ids = torch.arange(count) if isinstance(innermost(self), RESIDENT) else subset(count, min(_HASHED, count))
        digest = hashlib.sha256(str(count).encode())
        for part in ids.split(_READ):
            x = self.batch(part).x.contiguous()
            digest.update(f"{x.dtype} {tuple(x.shape)}".encode())
            digest.update(x.view(torch.uint8).numpy().data)
        return digest.hexdigest()


def innermost(examples: Examples) -> Examples:
    """The data set inside parts and sets without labels."""
    while isinstance(examples, Part | WithoutLabels):
        examples = examples.whole
    return examples
