"""Check of a whole data set: every image is decoded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.types import Examples
from robustlab.data.folder import ImageFolder
from robustlab.data.images import plain, read

_AT_A_TIME = 256


class Checked(NamedTuple):
    """Result of a check."""

    decoded: int
    """Examples that could be read."""
    shapes: dict[tuple[int, ...], int]
    """Number of inputs of each shape; of files, the shape on disk, upright."""
    faults: tuple[str, ...]
    """One sentence for each that could not."""


def check_examples(data: Examples, progress: Callable[[int, int], None] | None = None) -> Checked:
    """Reads and decodes every example.

    Args:
        data: images of a folder are decoded in their own sizes.
        progress: is called with the number of examples read and the number of all.
    """
    shapes: dict[tuple[int, ...], int] = {}
    faults: list[str] = []
    for done, one in enumerate(_files(data) if isinstance(data, ImageFolder) else _inputs(data), 1):
        if isinstance(one, str):
            faults.append(one)
        else:
            shapes[one] = shapes.get(one, 0) + 1
        if progress is not None and (done % _AT_A_TIME == 0 or done == len(data)):
            progress(done, len(data))
    return Checked(sum(shapes.values()), shapes, tuple(faults))


def _files(data: ImageFolder) -> Iterator[tuple[int, ...] | str]:
    """The shape of each image file, or its fault."""

    def checked(path: str) -> tuple[int, ...] | str:
        try:
            channels, height, width = read(data.root / path, _shape).tolist()
        except DataError as error:
            return str(error)
        return int(channels), int(height), int(width)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(data), _AT_A_TIME):
            yield from pool.map(checked, data.paths[start : start + _AT_A_TIME])


def _shape(image: object) -> Tensor:
    found = plain(image)  # type: ignore[arg-type]  # read hands over images of Pillow
    return torch.tensor([len(found.getbands()), found.height, found.width])


def _inputs(data: Examples) -> Iterator[tuple[int, ...] | str]:
    """The shape of each input, or its fault; a batch with a fault is read one by one."""
    for ids in torch.arange(len(data)).split(_AT_A_TIME):
        try:
            yield from [tuple(x.shape) for x in data.batch(ids).x]
        except (DataError, ValueError):
            for one in ids.split(1):
                yield _input(data, one)


def _input(data: Examples, one: Tensor) -> tuple[int, ...] | str:
    try:
        return tuple(data.batch(one).x.shape[1:])
    except (DataError, ValueError) as error:
        return f"example {int(one)}: {error}"
