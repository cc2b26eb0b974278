"""Columns of the user's own tables and data sets: images, labels and names of the classes."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from robustlab.core.errors import DataError

Column: TypeAlias = str | int | Sequence[str]
Columns: TypeAlias = tuple[Column, Column]
"""Names (or positions, in tuples) of the image and of the label."""
_IMAGES = (
    "image", "img", "images", "x", "X", "x_test", "X_test", "input", "inputs", "pixel_values", "picture", "photo",
    "jpg", "jpeg", "png", "webp", "data", "image_path", "path", "file", "filename", "file_name", "arr_0",
)  # fmt: skip
_LABELS = (
    "label", "labels", "target", "targets", "y", "Y", "y_test", "Y_test", "class", "cls", "class_id", "label_id",
    "fine_label", "category", "arr_1",
)  # fmt: skip
SPLITS = ("test", "validation", "valid", "val", "dev", "train")
"""Names of splits, in the order of preference for testing."""


def of_names(names: Iterable[object], wanted: Columns | None, what: str) -> Columns:
    """The columns of image and label.

    Args:
        names: of all columns.
        wanted: columns given by the user; None: the usual names.
        what: name of the table, for the message.

    Raises: ValueError if they cannot be found.
    """
    there = [str(name) for name in names]
    if wanted is not None:
        required = [name for one in wanted for name in (one if isinstance(one, list | tuple) else [one])]
        missing = [str(name) for name in required if str(name) not in there]
        if missing:
            raise ValueError(f"{what} has no column {missing[0]!r}: it has {', '.join(there)}")
        return wanted
    image = next((name for name in _IMAGES if name in there), None)
    label = next((name for name in _LABELS if name in there), None)
    if image is None or label is None:
        raise ValueError(
            f"{what} has the columns {', '.join(there)}: name those of image and label, as in "
            "robustlab.data.examples(data, columns=('image', 'label'))"
        )
    return image, label


def split_of(parts: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The test split of a dictionary of splits; None if it is no such dictionary.

    Raises: ValueError if none is a test split.
    """
    if not parts or not {str(name) for name in parts} <= {*SPLITS} | {name for name in parts if _is_set(parts[name])}:
        return None
    found = next((name for name in SPLITS if name in parts), None)
    if len(parts) == 1:
        return next(iter(parts.items()))
    if found is None or found == "train":
        raise ValueError(f"the data have the splits {', '.join(map(str, parts))}: give one, such as data[{found!r}]")
    return found, parts[found]


def _is_set(part: object) -> bool:
    """True for a value of a dictionary that is a data set, not a column."""
    return hasattr(part, "column_names") or hasattr(part, "iloc") or isinstance(part, torch.utils.data.Dataset)


def known_classes(data: Any, columns: Columns | None) -> tuple[str, ...] | None:  # noqa: ANN401 -- the user's own
    """Names of the classes of a data set, or of the one that it is a part of; None if unknown."""
    features = getattr(data, "features", None)
    if columns is not None and isinstance(features, Mapping):
        names = getattr(features.get(columns[1]), "names", None)
        return tuple(map(str, names)) if names else None
    own = getattr(data, "classes", None)
    if isinstance(own, Sequence | np.ndarray) and len(own) and not isinstance(own, str):
        return tuple(
            one if isinstance(one, str) else ", ".join(map(str, np.atleast_1d(np.asarray(one)))) for one in own
        )
    named = getattr(data, "class_to_idx", None)
    if isinstance(named, Mapping) and named:
        return tuple(map(str, sorted(named, key=named.__getitem__)))
    inner = _inner(data)
    found = {known_classes(part, columns) for part in inner}
    return found.pop() if len(found) == 1 else None


def _joined_name(name: object) -> str:
    """Name of a class; several names, as in torchvision's ImageNet, are joined."""
    return ", ".join(map(str, name)) if isinstance(name, list | tuple) else str(name)


def known_labels(data: Any, columns: Columns | None) -> list[Any] | None:  # noqa: ANN401 -- the user's own
    """All labels of a data set that has them without reading its images; None otherwise."""
    if (
        columns is not None
        and isinstance(columns[1], str)
        and columns[1] in (getattr(data, "column_names", None) or ())
    ):
        return list(data[columns[1]])
    if isinstance(data, list | tuple):
        return [item[1] for item in data] if all(isinstance(i, list | tuple) and len(i) == 2 for i in data) else None
    for name in ("targets", "labels", "_labels", "y"):
        found = getattr(data, name, None)
        if isinstance(found, Tensor | np.ndarray | list | tuple) and len(found) == len(data):
            return list(found.tolist() if isinstance(found, Tensor | np.ndarray) else found)
    samples = getattr(data, "samples", None) or getattr(data, "_samples", None)
    if isinstance(samples, list) and samples and isinstance(samples[0], tuple) and len(samples[0]) == 2:
        return [label for _, label in samples]
    return _labels_inside(data, columns)


def _labels_inside(data: Any, columns: Columns | None) -> list[Any] | None:  # noqa: ANN401 -- the user's own
    """Labels of the data sets inside a data set."""
    tensors = getattr(data, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) == 2:
        return list(tensors[1].tolist())
    parts = [known_labels(part, columns) for part in _inner(data)]
    if not parts or any(part is None for part in parts):
        return None
    every = [label for part in parts for label in part or ()]
    indices = getattr(data, "indices", None)
    return every if indices is None else [every[int(number)] for number in indices]


def _inner(data: object) -> list[object]:
    """The data sets that a Subset or a ConcatDataset is made of."""
    if hasattr(data, "indices") and hasattr(data, "dataset"):
        return [data.dataset]
    found = getattr(data, "datasets", None)
    return list(found) if isinstance(found, list | tuple) else []


def names_of(labels: Sequence[object]) -> tuple[str, ...]:
    """Class names: the words themselves by alphabet where labels are words, else numbers up to the largest.

    Raises: ValueError if they are neither.
    """
    if any(isinstance(label, str) for label in labels):
        if not all(isinstance(label, str) for label in labels):
            raise ValueError("some labels are words, others are not: give one kind")
        return tuple(sorted({str(label) for label in labels}))
    return tuple(str(k) for k in range(max((number(label) for label in labels), default=-1) + 1))


def number(label: object, names: Mapping[str, int] | None = None) -> int:
    """The number of a class.

    Args:
        label: a whole number of Python, NumPy or torch, or a class's name.
        names: numbers by name.

    Raises: ValueError if it is something else.
    """
    if isinstance(label, str):
        if label not in (names or {}):
            raise ValueError(f"label {label!r} is no class: there are {', '.join(list(names or {})[:5])}")
        return (names or {})[label]
    single = label
    if isinstance(label, np.ndarray | Tensor) and label.shape in ((), (1,)):
        single = label.item()
    try:
        return operator.index(single)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        raise ValueError(f"label {_short(label)} is no whole number 0..K-1 and no name of a class") from None


def _short(label: object) -> str:
    text = " ".join(str(label).split())
    return text if len(text) < 40 else f"{text[:40]}... ({type(label).__name__})"


def as_labels(y: object) -> tuple[Tensor, tuple[str, ...] | None]:
    """Labels as a tensor (N,), and the names of the classes if they were words.

    Raises: ValueError if they are no labels.
    """
    if isinstance(y, Tensor):
        return y, None
    values = np.asarray(y)
    if values.dtype.kind in "UO" and values.ndim == 1:
        words = [str(word) if isinstance(word, np.str_) else word for word in values.tolist()]
        names = names_of(words)
        numbers = {name: k for k, name in enumerate(names)}
        classes = names if any(isinstance(word, str) for word in words) else None
        return torch.tensor([number(word, numbers) for word in words]), classes
    return as_array(values, "labels"), None


def as_array(values: object, what: str) -> Tensor:
    """Numbers as a tensor.

    Raises: ValueError if torch has no such type, as for objects.
    """
    if isinstance(values, Tensor):
        return values
    try:
        found = np.asarray(values)
        if found.dtype.kind not in "biufc":
            raise TypeError(f"they are of type {found.dtype}")
        native = found.astype(found.dtype.newbyteorder("="), copy=not found.flags.writeable)
        return torch.from_numpy(np.ascontiguousarray(native))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} cannot be made one tensor: {str(error).splitlines()[0]}") from error


def of_item(item: Any, columns: Columns | None, where: str) -> tuple[Any, Any]:  # noqa: ANN401 -- the user's own
    """Image and label of one item.

    Raises: DataError if one of them is missing.
    """
    if isinstance(item, Mapping):
        image, label = of_names(item, columns, where)
        return item[image], item[label]
    if not isinstance(item, tuple | list):
        raise DataError(f"{where} is a {type(item).__name__}, expected a pair (x, y)")
    if columns is not None:
        try:
            return item[columns[0]], item[columns[1]]  # type: ignore[index]  # words are refused
        except (TypeError, IndexError) as error:
            raise DataError(f"{where} is a {type(item).__name__} of {len(item)}, without columns {columns}") from error
    if len(item) != 2:
        raise DataError(
            f"{where} is a {type(item).__name__} of {len(item)}, expected a pair (x, y): give their positions, as in "
            "robustlab.data.examples(data, columns=(0, 1))"
        )
    return item[0], item[1]
