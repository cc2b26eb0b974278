"""Random parts of data sets by a hash of the example's number: disjoint, and equal on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.core.random import subset
from robustlab.core.types import Batch, Examples
from robustlab.core.user_code import batch_of
from robustlab.data.memory import check_ids
from robustlab.data.wrapped import data_sha256


@dataclass(frozen=True, eq=False)
class Part:
    """Some examples of a data set, with their own numbers 0..n-1.

    Args:
        name: in reports.
        whole: the data set.
        rows: numbers of the examples in it (n,), int64.
    """

    name: str
    whole: Examples
    rows: Tensor

    def __post_init__(self) -> None:
        check_ids(self.rows, len(self.whole), self.whole.name)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the whole data set."""
        return self.whole.classes

    @property
    def preprocessing(self) -> str:
        """Scaling of the images; empty if unknown."""
        return str(getattr(self.whole, "preprocessing", ""))

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, ids: Tensor) -> Batch:
        """Examples by their numbers in the part, which are also their names."""
        check_ids(ids, len(self), self.name)
        return self.whole.batch(self.rows[ids])._replace(ids=ids)

    def unchecked(self, ids: Tensor) -> Batch:
        """The same without the data set's own search for NaN, if it has one."""
        check_ids(ids, len(self), self.name)
        return batch_of(self.whole, self.rows[ids], unchecked=True)._replace(ids=ids)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the whole's content and the numbers of the examples in the part."""
        whole = data_sha256(self.whole)
        return hashlib.sha256(f"{whole}{self.rows.tolist()}".encode()).hexdigest()


@typed
def parts(data: Examples, fractions: Mapping[str, float], *, seed: int = 0) -> dict[str, Part]:
    """Divides a data set by a hash of the example's number.

    Args:
        data: to be divided.
        fractions: fraction of each part by name, each in (0, 1], in total at most 1.
        seed: of the draw.

    Returns: disjoint parts by name; their sizes are rounded so that they add up.
    Raises: ValueError for invalid fractions, or if a part would be empty.

    Example:
        >>> from robustlab.data import load
        >>> divided = parts(load("digits", split="all"), {"train": 0.8, "valid": 0.1, "test": 0.1})
        >>> {name: len(part) for name, part in divided.items()}
        {'train': 1438, 'valid': 179, 'test': 180}
    """
    if not all(0 < fraction <= 1 for fraction in fractions.values()) or sum(fractions.values()) > 1 + 1e-9:
        raise ValueError(f"fractions must each be in (0, 1] and in total at most 1, got {dict(fractions)}")
    divided: dict[str, Part] = {}
    taken, total = torch.zeros(len(data), dtype=torch.bool), 0.0
    for name, fraction in fractions.items():
        total += fraction
        # Samples of growing size from one seed contain each other: what is new in the larger one is the next part.
        larger = subset(len(data), min(len(data), round(total * len(data))), seed=seed)
        rows = larger[~taken[larger]]
        if not len(rows):
            raise ValueError(f"{len(data)} examples leave none for part {name!r} with fraction {fraction}")
        taken[rows] = True
        divided[name] = Part(f"{data.name} ({name})", data, rows)
    return divided


@typed
def sample(data: Examples, size: int, *, seed: int = 0) -> Part:
    """A simple random sample of a data set, with its examples in the order of their numbers."""
    return Part(f"{data.name} ({size} of {len(data)})", data, subset(len(data), size, seed=seed))


@typed
def apart(data: Examples, size: int, *, seed: int = 0) -> tuple[Part, Part]:
    """Splits a data set into a simple random sample, that of ``sample``, and the rest.

    Args:
        data: to be divided.
        size: of the sample, at least 1, and less than all.
        seed: of the draw.

    Returns: the sample, and the rest.
    Raises: ValueError if one of them would be empty.
    """
    if not 0 < size < len(data):
        raise ValueError(f"{size} of the {len(data)} examples of {data.name} cannot be set apart: both parts need some")
    chosen = sample(data, size, seed=seed)
    left = torch.ones(len(data), dtype=torch.bool)
    left[chosen.rows] = False
    return chosen, Part(f"{data.name} (without {size})", data, left.nonzero()[:, 0])
