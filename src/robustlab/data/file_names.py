"""Names of the files of examples."""

from __future__ import annotations

from pathlib import PurePath

from torch import Tensor

from robustlab.core.types import Examples
from robustlab.data.splits import Part
from robustlab.data.wrapped import FromDataset


def file_names(data: Examples, ids: Tensor) -> tuple[str, ...]:
    """Paths of the files of some examples, as in the data set.

    Args:
        data: a folder of images, a part of one, or a torchvision data set that lists its files.
        ids: numbers of the examples (N,), int64.

    Returns: one path per example, with "/" between folders; empty for data without files.
    """
    if isinstance(data, Part):
        return file_names(data.whole, data.rows[ids])
    paths = _paths(data)
    return tuple(paths[number] for number in ids.tolist()) if paths else ()


def _paths(data: Examples) -> list[str]:
    """All paths of a data set, in the order of its examples; empty: it has none."""
    listed = getattr(data, "paths", None)
    if isinstance(data, FromDataset):
        listed = _torchvision_paths(data.data)
    if not isinstance(listed, list | tuple) or len(listed) != len(data):
        return []
    if not all(isinstance(path, str | PurePath) for path in listed):
        return []
    return [path if isinstance(path, str) else path.as_posix() for path in listed]


def _torchvision_paths(data: object) -> list[str] | None:
    """Paths of ``torchvision.datasets.ImageFolder`` and its like, relative to their root, and of a torch ``Subset``."""
    inner, rows = getattr(data, "dataset", None), getattr(data, "indices", None)
    if inner is not None and rows is not None:
        whole = _torchvision_paths(inner)
        return None if whole is None else [whole[int(row)] for row in rows]
    samples, root = getattr(data, "samples", None), getattr(data, "root", None)
    if not isinstance(samples, list) or not all(isinstance(one, tuple) and isinstance(one[0], str) for one in samples):
        return None
    return [_relative(path, root) for path, *_ in samples]


def _relative(path: str, root: object) -> str:
    pure = PurePath(path)
    if isinstance(root, str | PurePath) and pure.is_relative_to(root):
        pure = pure.relative_to(root)
    return pure.as_posix()
