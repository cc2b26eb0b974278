"""Ready-made corrupted copies of a data set, as ImageNet-C and CIFAR-10-C are published."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.core.types import Batch, Examples
from robustlab.data.class_order import is_synset
from robustlab.data.folder import ImageFolder, image_folder
from robustlab.data.framing import Framing
from robustlab.data.memory import check_ids, class_names, unit
from robustlab.data.wrapped import sampled_sha256

Cell: TypeAlias = tuple[str, int]
"""A corruption by name, and a severity."""
_SEVERITIES = (1, 2, 3, 4, 5)
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_IMAGENET_C = "root/corruption/severity/wnid/*.JPEG"


@typed
@dataclass(frozen=True, eq=False)
class CorruptedCopies:
    """The same images under several corruptions, each at the same severities.

    Each cell is a data set, and image i is the same picture in all of them. The whole data set is all cells one after
    the other.

    Args:
        name: in reports.
        cells: by corruption and severity.
    """

    name: str
    cells: Mapping[Cell, Examples]

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Names of the corruptions, by alphabet from the readers."""
        return tuple(dict.fromkeys(name for name, _ in self.cells))

    @property
    def severities(self) -> tuple[int, ...]:
        """Severities, ascending."""
        return tuple(sorted({severity for _, severity in self.cells}))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of all cells."""
        return next(iter(self.cells.values())).classes

    @property
    def preprocessing(self) -> str:
        """Scaling of the images; empty if unknown."""
        return str(getattr(next(iter(self.cells.values())), "preprocessing", ""))

    def __len__(self) -> int:
        return len(self.cells) * self._each

    @property
    def _each(self) -> int:
        return len(next(iter(self.cells.values())))

    def cell(self, corruption: str, severity: int) -> Examples:
        """One corruption at one severity.

        Raises: ValueError if it is missing.
        """
        if (corruption, severity) not in self.cells:
            raise ValueError(
                f"{self.name} has no {corruption} at severity {severity}; it has {', '.join(self.corruptions)} at "
                f"severities {', '.join(map(str, self.severities))}"
            )
        return self.cells[corruption, severity]

    def batch(self, ids: Tensor) -> Batch:
        """Images by their number among all cells."""
        check_ids(ids, len(self), self.name)
        x: dict[int, Tensor] = {}
        y = torch.empty_like(ids)
        for number, examples in enumerate(self.cells.values()):
            rows = (ids // self._each == number).nonzero()[:, 0]
            if len(rows):
                found = examples.batch(ids[rows] % self._each)
                x |= dict(zip(rows.tolist(), found.x, strict=True))
                y[rows] = found.y
        return Batch(torch.stack([x[row] for row in range(len(ids))]), y, ids)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of names and of a fixed sample of 256 images of all cells."""
        return hashlib.sha256(f"{list(self.cells)}{sampled_sha256(self)}".encode()).hexdigest()


def imagenet_c(path: str | Path, *, size: int | None = None) -> CorruptedCopies:
    """ImageNet-C as published: root/corruption/severity/wnid/*.JPEG.

    The images are 224 pixels high and wide already, and stay unchanged: scaling and cropping them again is a known
    mistake, which changes the errors.

    Args:
        path: the root.
        size: for a model with another input size; None: the images stay unchanged.

    Raises: DataError if the folder has another layout, a corruption lacks a severity, or a folder is no ImageNet class.
    """
    return corrupted_folders(path, size=size, check=_check_synsets)


def _check_synsets(folder: Path, names: Sequence[str]) -> None:
    other = [name for name in names if not is_synset(name)]
    if other:
        raise DataError(
            f"{folder} has folders that are no ImageNet class: {', '.join(other[:5])}; ImageNet-C is {_IMAGENET_C}, "
            "corrupted images of other classes are read by corrupted:PATH"
        )


def corrupted_folders(
    path: str | Path,
    *,
    size: int | None = None,
    channels: int = 3,
    classes: Sequence[str] | str | Path | None = None,
    check: Callable[[Path, Sequence[str]], None] | None = None,
) -> CorruptedCopies:
    """Corrupted copies of an image folder, laid out like ImageNet-C: root/corruption/severity/class/image.

    The files of the first cell are listed, and the other cells must have files of the same names: a missing one raises
    an error when it is read.

    Args:
        path: the root.
        size: height and width of the scaled images; None: they keep their size.
        channels: of the images, 3 or 1.
        classes: names of the class folders in the order of their numbers; None: by alphabet, or ImageNet's numbers.
        check: is called with each cell's folder and the names of its class folders.

    Raises: DataError if the folder has another layout.
    """
    root = Path(path).expanduser()
    names = [name for name in _subfolders(root) if set(_subfolders(root / name)) & set(map(str, _SEVERITIES))]
    if not names:
        raise DataError(f"{root} holds no corrupted images: there should be folders such as {root / 'fog' / '3'}")
    folders = {(name, s): root / name / str(s) for name in names for s in _severities_of(root, names)}
    cells: dict[Cell, Examples] = {}
    first: ImageFolder | None = None
    expected: list[str] = []
    for cell, folder in folders.items():
        found = _subfolders(folder)
        if check is not None:
            check(folder, found)
        if first is None:
            framing = Framing(size, channels=channels)
            first, expected = image_folder(folder, classes=classes, framing=framing), found
        if found != expected:
            odd = sorted(set(found) ^ set(expected))
            raise DataError(f"{folder} has other classes than {first.root}: {', '.join(odd[:5])}")
        cells[cell] = replace(first, name=f"{root.name}, {cell[0]} at severity {cell[1]}", root=folder)
    return CorruptedCopies(root.name, cells)


def _subfolders(path: Path) -> list[str]:
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _severities_of(root: Path, names: Sequence[str]) -> tuple[int, ...]:
    """The severities of one corruption, which all others must have too."""
    found = {name: {s for s in _SEVERITIES if (root / name / str(s)).is_dir()} for name in names}
    every = set[int]().union(*found.values())
    for name, own in found.items():
        if own != every:
            raise DataError(f"{root / name} has no severity {min(every - own)}, other corruptions do: is it complete?")
    return tuple(sorted(every))


@dataclass(frozen=True, eq=False)
class _Block:
    """The images of one severity inside a memory-mapped array.

    Args:
        name: in reports.
        classes: names of the K classes.
        x: images (M, H, W, C) or (M, H, W), uint8.
        start: number of the first image.
        y: labels (N,), int64.
    """

    name: str
    classes: tuple[str, ...]
    x: NDArray[np.uint8]
    start: int
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, ids: Tensor) -> Batch:
        """Images by their number, float32 (N, C, H, W) in [0, 1]; only these are read."""
        check_ids(ids, len(self), self.name)
        images = torch.from_numpy(np.array(self.x[ids.numpy() + self.start]))
        channels_first = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
        return Batch(unit(channels_first.contiguous()), self.y[ids], ids)


def cifar_c(path: str | Path, *, classes: Sequence[str] | int | None = None) -> CorruptedCopies:
    """CIFAR-10-C, CIFAR-100-C and data in the same layout: root/corruption.npy and root/labels.npy.

    Each array holds the images five times, (5 n, H, W, C) uint8, by severity; so do the labels (or once). Arrays are
    memory-mapped: only the images of a batch are read.

    Args:
        path: the root.
        classes: names, or their number; None: CIFAR-10's for ten classes of coloured images of 32 pixels, else numbers.

    Raises: DataError if the folder has another layout, or an array does not fit the labels.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    arrays = {file.stem: file for file in sorted(root.glob("*.npy")) if file.stem != "labels"}
    if not arrays or not (root / "labels.npy").is_file():
        lacking = "labels.npy" if arrays else "corruption.npy"
        raise DataError(f"{root} holds no {lacking}: CIFAR-10-C has files such as fog.npy, and labels.npy")
    labels = _mapped(root / "labels.npy")
    cells: dict[Cell, Examples] = {}
    for name, file in arrays.items():
        x, y = _images_and_labels(file, labels)
        names = class_names(_CIFAR10 if classes is None and _is_cifar10(x, y) else classes, y)
        for k, severity in enumerate(_SEVERITIES):
            title = f"{root.name}, {name} at severity {severity}"
            cells[name, severity] = _Block(title, names, x, k * len(y), y)
    return CorruptedCopies(root.name, cells)


def _mapped(file: Path) -> NDArray[np.uint8]:
    try:
        found: NDArray[np.uint8] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read as an array: {error}") from error
    return found


def _images_and_labels(file: Path, labels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Tensor]:
    """All images of a file, and the labels of one severity."""
    x, count = _mapped(file), len(_SEVERITIES)
    if x.ndim not in (3, 4) or x.dtype != np.uint8 or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        raise DataError(f"{file} holds {x.dtype} of shape {x.shape}, expected images (5 n, H, W, C) as uint8")
    n = len(x) // count
    if not n or len(x) % count or labels.shape not in ((n,), (count * n,)) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{file} holds {len(x)} images and labels.npy {labels.dtype} of shape {labels.shape}: expected n images at "
            "each of five severities, one after the other, and whole numbers as their labels"
        )
    y = torch.from_numpy(np.array(labels, np.int64))
    if len(y) != n and not bool((y.view(count, n) == y[:n]).all()):
        raise DataError(f"{file.parent / 'labels.npy'} does not repeat the same labels for each of the five severities")
    return x, y[:n]


def _is_cifar10(x: NDArray[np.uint8], y: Tensor) -> bool:
    return x.shape[1:] == (32, 32, 3) and int(y.max()) == len(_CIFAR10) - 1
