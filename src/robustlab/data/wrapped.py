"""The user's own data as a data set: tensors, arrays, files of arrays, tables, torch and Hugging Face data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import RandomSampler, SequentialSampler, default_collate

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.core.random import subset
from robustlab.core.types import Batch, Examples
from robustlab.core.user_code import called, reason
from robustlab.data.columns import (
    Columns,
    as_array,
    as_labels,
    known_classes,
    known_labels,
    names_of,
    number,
    of_item,
    of_names,
    split_of,
)
from robustlab.data.framing import Frames
from robustlab.data.images import pixels
from robustlab.data.memory import (
    InMemory,
    check_finite,
    check_ids,
    check_inputs,
    check_kind,
    check_labels,
    class_names,
    unit,
)

_HASHED = 256
_READ = 10_000  # examples whose labels are read one by one, if nothing else says the classes
_HANDED_ON = "take them into memory, robustlab.data.examples(list(itertools.islice(data, 1000))), say"


class MapStyle(Protocol):
    """A torch data set with a length: item i is (x, y)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


Array: TypeAlias = Tensor | NDArray[np.generic]
Given: TypeAlias = (
    Examples | Array | tuple[Array, Array] | MapStyle | str | Path | Mapping[Any, Any] | Iterable[Any] | Sized
)
"""Data that ``examples`` accepts."""


class Wanted(NamedTuple):
    """Settings that the user gives for the data."""

    classes: Sequence[str] | int | None = None
    name: str | None = None
    framing: Frames | None = None
    columns: Columns | None = None
    otherwise: Callable[[Tensor], int] | None = None
    """Number of classes by an input, where the data do not say it."""


@typed
def examples(
    data: Given,
    y: object = None,
    *,
    classes: Sequence[str] | int | None = None,
    name: str | None = None,
    framing: Frames | None = None,
    columns: Columns | None = None,
) -> Examples:
    """Builds a data set from the user's own data.

    Args:
        data: inputs (N, C, H, W), uint8 in 0..255 or float in [0, 1]; a pair of inputs and labels; a dictionary of
            these, or an npz file; a list of pairs; a torch data set, or a DataLoader of one; a data set of Hugging
            Face (of a dictionary of splits the test set); a table of pandas; a folder of class folders, or a name
            for ``load``; or a data set already, which is returned unchanged. Images are tensors,
            arrays, images of Pillow, bytes of a file or its path.
        y: labels (N,), numbers or words, if ``data`` is the inputs alone.
        classes: names of the classes, or their number; None: the data set's own, else up to the largest label.
        name: in reports.
        framing: scaling of images of Pillow and files, such as ``Framing(224)``; None: they keep their size.
        columns: of image and label, where items are dictionaries or tuples; None: the usual names.

    Raises:
        ValueError: the data cannot be a data set, with the reason.
        DataError: the folder or file cannot be read.
    """
    if isinstance(data, Examples):
        return data
    wanted = Wanted(classes, name, framing, columns)
    return brought(data, wanted) if y is None else _in_memory(data, y, wanted)


def brought(data: Given, wanted: Wanted) -> Examples:
    """A data set from anything but inputs alone, see ``examples``."""
    if isinstance(data, Examples):
        return data
    if isinstance(data, str | Path):
        from robustlab.data.places import at  # which reads names of data sets, made of what is here

        return at(data, wanted)
    if _is_pair(data):
        x, y = cast("tuple[object, object]", data)
        return _in_memory(x, y, wanted)
    if isinstance(data, Tensor | np.ndarray):
        raise ValueError(f"inputs of shape {tuple(data.shape)} without labels: give examples(x, y)")
    if isinstance(data, Mapping):
        return _of_mapping(data, wanted)
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _of_table(data, wanted)
    tensors = getattr(data, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) == 2:
        return _in_memory(*tensors, wanted._replace(name=wanted.name or type(data).__name__))
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        return brought(_behind(data), wanted)
    return _of_items(cast(MapStyle, data), wanted)


def _is_pair(data: object) -> bool:
    """True for a pair of inputs and labels, False for a list of two examples."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        return False
    x, y = data
    if all(isinstance(one, Tensor | np.ndarray) for one in data):
        return isinstance(data, tuple) or y.ndim <= 1
    if hasattr(y, "to_numpy"):  # a column of pandas
        return True
    flat = isinstance(y, Tensor | np.ndarray) or (
        isinstance(y, list | tuple) and all(isinstance(label, int | str | np.integer) for label in y)
    )
    return flat and hasattr(x, "__len__") and not isinstance(x, str)


def _in_memory(x: object, y: object, wanted: Wanted) -> Examples:
    """Inputs and labels as tensors; a list of images is read one at a time."""
    x = x.to_numpy() if hasattr(x, "to_numpy") else x
    labels, words = as_labels(y.to_numpy() if hasattr(y, "to_numpy") else y)
    if isinstance(x, list | tuple) and len(x) == len(labels) and not isinstance(x[0], int | float | list):
        known = wanted._replace(classes=wanted.classes if wanted.classes is not None else words)
        return _of_items(list(zip(x, labels.tolist(), strict=True)), known)
    inputs = as_array(x, "inputs").detach()
    if (
        not inputs.is_nested
        and inputs.dim() == 4
        and inputs.shape[-1] in (1, 3)
        and inputs.shape[1] > 4
        and inputs.shape[2] > 4
    ):
        raise ValueError(f"images of shape {tuple(inputs.shape)} look like (N, H, W, C): give x.permute(0, 3, 1, 2)")
    if inputs.dtype is torch.uint16:
        raise ValueError("inputs are torch.uint16: divide images of 16 bits by 65535, as floats in [0, 1]")
    check_inputs(inputs)
    names = class_names(wanted.classes if wanted.classes is not None or words is None else words, labels)
    return InMemory(wanted.name or "tensors", names, inputs, labels)


def _of_mapping(data: Mapping[Any, Any], wanted: Wanted) -> Examples:
    """A dictionary of columns, or of splits."""
    part = split_of(data)
    if part is not None:
        return brought(part[1], wanted._replace(name=wanted.name or f"{type(data).__name__} {part[0]}"))
    image, label = of_names(data, wanted.columns, f"the {type(data).__name__}")
    return _in_memory(data[image], data[label], wanted)


def _of_table(data: Any, wanted: Wanted) -> Examples:  # noqa: ANN401 -- a table of pandas or like it
    """A table with a column of images, or with columns of numbers."""
    image, label = of_names(data.columns, wanted.columns, f"the {type(data).__name__}")
    named = wanted._replace(name=wanted.name or type(data).__name__)
    if isinstance(image, list | tuple):
        return _in_memory(data[list(image)].to_numpy().astype(np.float32), data[label].to_numpy(), named)
    return _in_memory(data[image].tolist(), data[label].to_numpy(), named)


def _behind(data: Any) -> Given:  # noqa: ANN401 -- the user's own
    """The data set behind a loader.

    Raises: ValueError if there is none equal to it.
    """
    inner, kind = getattr(data, "dataset", None), type(data).__name__
    if inner is None or not hasattr(inner, "__getitem__") or not hasattr(inner, "__len__"):
        raise ValueError(
            f"a {kind} has no examples by number (no __len__ and __getitem__): {_HANDED_ON}"
            if hasattr(data, "__iter__")
            else f"a {kind} is no data set: give tensors (x, y), or a data set with __len__ and __getitem__"
        )
    if getattr(data, "collate_fn", default_collate) is not default_collate:
        raise ValueError(f"this {kind} has a collate_fn of its own: give its .dataset, with items (x, y)")
    if type(getattr(data, "sampler", None)) not in (SequentialSampler, RandomSampler, type(None)):
        raise ValueError(f"this {kind} has a sampler of its own: give its .dataset, or a torch.utils.data.Subset of it")
    return cast(Given, inner)


def _of_items(data: MapStyle, wanted: Wanted) -> Examples:
    """A data set of items (x, y), or of dictionaries."""
    if not len(data):
        raise ValueError(f"the {type(data).__name__} is empty: there must be at least one example")
    name, columns = wanted.name or type(data).__name__, wanted.columns
    columned = getattr(data, "column_names", None)
    if isinstance(columned, list | tuple):
        columns = of_names(columned, columns, f"the {name}")
    elif isinstance(data, list | tuple) and isinstance(data[0], Mapping):
        columns = of_names(data[0], columns, f"an item of the {name}")
    names = _names(data, wanted._replace(name=name, columns=columns))
    return FromDataset(name, names, data, wanted.framing, columns)


def _names(data: MapStyle, wanted: Wanted) -> tuple[str, ...]:
    """Names of the classes: from the user, else the data set, else its labels, else the model.

    Raises: ValueError if they are unknown.
    """
    if wanted.classes is not None:
        return class_names(wanted.classes, torch.empty(0))
    classes = known_classes(data, wanted.columns)
    if classes is not None:
        return classes
    labels = known_labels(data, wanted.columns)
    if labels:
        return names_of(labels)
    bare = FromDataset(wanted.name or "", ("",), data, wanted.framing, wanted.columns)
    if wanted.otherwise is not None:
        x, label = bare.item(0)
        if not isinstance(label, str):
            return class_names(wanted.otherwise(unit(x)), torch.empty(0))
    if len(data) > _READ:
        raise ValueError(f"{type(data).__name__} has no list of its classes: give classes=, names or a number")
    return names_of([bare.label(k) for k in range(len(data))])


@dataclass(frozen=True, eq=False)
class FromDataset:
    """A torch data set, read an item at a time.

    Args:
        name: in reports.
        classes: names of the K classes.
        data: items are (x, y), or dictionaries: x a tensor or array (C, H, W), uint8 or float in [0, 1], or an image of
            Pillow, or the path of one; y a number, or the name of a class.
        framing: scaling of images of Pillow and files; None: they keep their size.
        columns: of x and y.
    """

    name: str
    classes: tuple[str, ...]
    data: MapStyle
    framing: Frames | None = None
    columns: Columns | None = field(default=None)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def preprocessing(self) -> str:
        """Scaling of the images; empty: none."""
        return "" if self.framing is None else str(self.framing)

    def batch(self, ids: Tensor) -> Batch:
        """Items by their number; inputs float, in [0, 1] where they were bytes.

        Raises:
            DataError: an item is missing or unreadable, or has another shape than the others.
            ValueError: NaN or infinity, or a label that is no class.
        """
        return self._read(ids, finite=True)

    def unchecked(self, ids: Tensor) -> Batch:
        """The same without a search for NaN and infinity, for a caller who checks the range of the values."""
        return self._read(ids, finite=False)

    def _read(self, ids: Tensor, *, finite: bool) -> Batch:
        check_ids(ids, len(self), self.name)
        items = [self.item(number) for number in ids.tolist()]
        shapes = {tuple(x.shape) for x, _ in items}
        if len(shapes) > 1:
            raise DataError(
                f"{self.name} has inputs of different shapes {sorted(shapes)}: scale them to one size, images of "
                "Pillow by robustlab.data.examples(data, framing=robustlab.data.Framing(224))"
            )
        x = torch.stack([unit(x) for x, _ in items] if len({x.dtype for x, _ in items}) > 1 else [x for x, _ in items])
        y = torch.tensor([self._number(label, place) for place, (_, label) in zip(ids.tolist(), items, strict=True)])
        check_kind(x)
        if finite:
            check_finite(x, ids)
        check_labels(y, len(x), len(self.classes))
        return Batch(unit(x), y, ids)

    def item(self, number: int) -> tuple[Tensor, object]:
        """Input and unchanged label of one item.

        Raises: DataError if it is missing or unreadable.
        """
        image, label = self._both(number)
        try:
            return pixels(image, self.framing), label
        except ValueError as error:
            raise DataError(f"item {number} of {self.name} cannot be read: {error}") from error

    def label(self, number: int) -> object:
        """The unchanged label of one item."""
        return self._both(number)[1]

    def _both(self, number: int) -> tuple[object, object]:
        try:
            with called(f"number {number} of {self.name}", kind=DataError, advice="call it with this number by itself"):
                item = self.data[number]
        except DataError as error:
            cause = error.__cause__
            if not isinstance(cause, IndexError | KeyError | StopIteration | OSError):
                raise
            raise DataError(
                f"{self.name} has {len(self)} examples by its length, but number {number} is missing "
                f"({reason(cause)}): the data set ends early or is damaged"
            ) from cause
        return of_item(item, self.columns, f"item {number} of {self.name}")

    def _number(self, label: object, place: int) -> int:
        try:
            return number(label, self._numbers)
        except ValueError as error:
            raise DataError(f"item {place} of {self.name}: {error}") from error

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.classes)}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of classes, length and a fixed sample of 256 examples."""
        return sampled_sha256(self)


def data_sha256(data: Examples) -> str:
    """SHA-256 of a data set: its own where it has one, else that of a fixed sample."""
    own = getattr(data, "sha256", None)
    return own if isinstance(own, str) and own else sampled_sha256(data)


def sampled_sha256(data: Examples) -> str:
    """SHA-256 of class names, length and a fixed sample of 256 examples, for data outside memory."""
    digest = hashlib.sha256(repr((data.classes, len(data))).encode())
    for ids in torch.split(subset(len(data), min(_HASHED, len(data))), 32):
        batch = data.batch(ids)
        for part in (batch.x, batch.y):
            digest.update(part.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
