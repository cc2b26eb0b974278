"""Parts of data sets, drawn by a hash of the example's number: disjoint, and the same on every machine."""

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
from robustlab.data.memory import check_ids
from robustlab.data.wrapped import sampled_sha256


@dataclass(frozen=True, eq=False)
class Part:
    """Some examples of a data set, numbered 0..n-1 on their own.

    Args:
        name: what reports call it.
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
        """Those of the whole."""
        return self.whole.classes

    @property
    def preprocessing(self) -> str:
        """How images of the whole got their size; empty where it is not known."""
        return str(getattr(self.whole, "preprocessing", ""))

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, ids: Tensor) -> Batch:
        """Examples by their number in the part, which is also what they are called."""
        check_ids(ids, len(self), self.name)
        return self.whole.batch(self.rows[ids])._replace(ids=ids)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the whole's content and of which examples are in the part."""
        whole = getattr(self.whole, "sha256", None) or sampled_sha256(self.whole)
        return hashlib.sha256(f"{whole}{self.rows.tolist()}".encode()).hexdigest()


@typed
def parts(data: Examples, shares: Mapping[str, float], *, seed: int = 0) -> dict[str, Part]:
    """Divides a data set by a hash of the example's number.

    Args:
        data: to be divided.
        shares: of each part by name, each in (0, 1], together at most 1.
        seed: of the draw.

    Returns: disjoint parts by name; sizes are the shares of the length, rounded so that they add up.
    Raises: ValueError if the shares are no shares, or a part would be empty.

    Example:
        >>> from robustlab.data import load
        >>> divided = parts(load("digits", split="all"), {"train": 0.8, "valid": 0.1, "test": 0.1})
        >>> {name: len(part) for name, part in divided.items()}
        {'train': 1438, 'valid': 179, 'test': 180}
    """
    if not all(0 < share <= 1 for share in shares.values()) or sum(shares.values()) > 1 + 1e-9:
        raise ValueError(f"shares must each be in (0, 1] and together at most 1, got {dict(shares)}")
    divided: dict[str, Part] = {}
    taken, total = torch.zeros(len(data), dtype=torch.bool), 0.0
    for name, share in shares.items():
        total += share
        # Samples of growing size from one seed contain each other: what is new in the larger one is the next part.
        larger = subset(len(data), min(len(data), round(total * len(data))), seed=seed)
        rows = larger[~taken[larger]]
        if not len(rows):
            raise ValueError(f"{len(data)} examples leave none for part {name!r} with share {share}")
        taken[rows] = True
        divided[name] = Part(f"{data.name} ({name})", data, rows)
    return divided


@typed
def sample(data: Examples, size: int, *, seed: int = 0) -> Part:
    """A simple random sample of a data set as a data set, its examples in the order of their numbers."""
    return Part(f"{data.name} ({size} of {len(data)})", data, subset(len(data), size, seed=seed))


@typed
def apart(data: Examples, size: int, *, seed: int = 0) -> tuple[Part, Part]:
    """Sets a simple random sample of a data set apart, the same as ``sample`` draws.

    Args:
        data: to be divided.
        size: of the sample, at least 1, and less than all.
        seed: of the draw.

    Returns: the sample, and the rest.
    Raises: ValueError if one of both would be empty.
    """
    if not 0 < size < len(data):
        raise ValueError(f"{size} of the {len(data)} examples of {data.name} cannot be set apart: both parts need some")
    chosen = sample(data, size, seed=seed)
    left = torch.ones(len(data), dtype=torch.bool)
    left[chosen.rows] = False
    return chosen, Part(f"{data.name} (without {size})", data, left.nonzero()[:, 0])
