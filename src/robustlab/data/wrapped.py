"""The user's own data as a data set: tensors, arrays, torch data sets, folders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.random import subset
from robustlab.core.types import Batch, Examples
from robustlab.data.folder import image_folder
from robustlab.data.images import is_image, plain, values
from robustlab.data.memory import InMemory, check_ids, check_inputs, check_labels, class_names, unit

_HASHED = 256


class MapStyle(Protocol):
    """A torch data set with a length: item i is (x, y)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


Array: TypeAlias = Tensor | NDArray[np.generic]
Given: TypeAlias = Examples | Array | tuple[Array, Array] | MapStyle | str | Path
"""What can be made a data set."""


def examples(
    data: Given, y: Array | None = None, *, classes: Sequence[str] | int | None = None, name: str | None = None
) -> Examples:
    """Makes a data set of what the user has.

    Args:
        data: inputs (N, C, H, W), uint8 in 0..255 or float in [0, 1]; a pair of inputs and labels; a torch data set
            whose items are (x, y); a folder of class folders; or a data set already, which comes back as it is.
        y: labels (N,), if ``data`` is the inputs alone.
        classes: names of the classes, or how many there are; None: the data set's own, else up to the largest label.
        name: what reports call it.

    Raises:
        ValueError: what was given cannot be a data set; says why.
        DataError: the folder cannot be read.
    """
    if isinstance(data, Examples):
        return data
    if isinstance(data, str | Path):
        return image_folder(data, classes=None if isinstance(classes, int) else classes)
    pair = (data, y) if y is not None else data
    if isinstance(pair, tuple) and len(pair) == 2:
        return _in_memory(pair[0], pair[1], classes, name or "tensors")
    if isinstance(data, Tensor | np.ndarray):
        raise ValueError(f"inputs of shape {tuple(data.shape)} without labels: give examples(x, y)")
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        hint = "give its .dataset" if hasattr(data, "dataset") else "give a data set with __len__ and __getitem__"
        raise ValueError(f"a {type(data).__name__} has no examples by number: {hint}")
    return FromDataset(name or type(data).__name__, _dataset_classes(data, classes), data)


def _in_memory(x: object, y: object, classes: Sequence[str] | int | None, name: str) -> InMemory:
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    if inputs.dim() == 4 and inputs.dtype is torch.uint8 and inputs.shape[-1] in (1, 3) and inputs.shape[1] > 4:
        raise ValueError(f"images of shape {tuple(inputs.shape)} look like (N, H, W, C): give x.permute(0, 3, 1, 2)")
    check_inputs(inputs)
    return InMemory(name, class_names(classes, labels), inputs, labels)


def _dataset_classes(data: object, classes: Sequence[str] | int | None) -> tuple[str, ...]:
    own = getattr(data, "classes", None) if classes is None else classes
    targets = getattr(data, "targets", None)
    if own is None and targets is None:
        raise ValueError(f"{type(data).__name__} does not say its classes: give classes=, their names or their number")
    return class_names(own, torch.as_tensor(targets if own is None else []))


@dataclass(frozen=True, eq=False)
class FromDataset:
    """A torch data set, read an item at a time.

    Args:
        name: what reports call it.
        classes: names of the K classes.
        data: items are (x, y): x a tensor or array (C, H, W), uint8 or float in [0, 1], or a PIL image.
    """

    name: str
    classes: tuple[str, ...]
    data: MapStyle

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, ids: Tensor) -> Batch:
        """Items by their number; inputs float, in [0, 1] where they were bytes.

        Raises: DataError if an item cannot be had or read, or has another shape than the others.
        """
        check_ids(ids, len(self), self.name)
        items = [self._item(number) for number in ids.tolist()]
        shapes = {tuple(x.shape) for x, _ in items}
        if len(shapes) > 1:
            raise DataError(f"{self.name} has inputs of different shapes {sorted(shapes)}: bring them to one size")
        x, y = torch.stack([x for x, _ in items]), torch.tensor([label for _, label in items])
        check_inputs(x)
        check_labels(y, len(x), len(self.classes))
        return Batch(unit(x), y, ids)

    def _item(self, number: int) -> tuple[Tensor, int]:
        try:
            item = self.data[number]
        except (IndexError, KeyError, StopIteration, OSError) as error:
            raise DataError(
                f"{self.name} says it has {len(self)} examples, but number {number} cannot be had "
                f"({type(error).__name__}: {error}): the data set ends early or is damaged"
            ) from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"item {number} of {self.name} is a {type(item).__name__}, expected a pair (x, y)")
        try:
            return _input(item[0]), int(torch.as_tensor(item[1]))
        except ValueError as error:
            raise DataError(f"item {number} of {self.name} cannot be read: {error}") from error

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of classes, length and a fixed sample of 256 examples."""
        return sampled_sha256(self)


def _input(x: object) -> Tensor:
    if isinstance(x, Tensor):
        return x
    return values(plain(x)) if is_image(x) else torch.from_numpy(np.array(x))


def sampled_sha256(data: Examples) -> str:
    """SHA-256 of class names, length and a fixed sample of 256 examples: affordable for data that is not in memory."""
    digest = hashlib.sha256(repr((data.classes, len(data))).encode())
    for ids in torch.split(subset(len(data), min(_HASHED, len(data))), 32):
        batch = data.batch(ids)
        for part in (batch.x, batch.y):
            digest.update(part.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
