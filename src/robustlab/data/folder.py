"""Folders of images, one sub-folder per class, read a batch at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.random import subset
from robustlab.core.types import Batch
from robustlab.data.imagenet import imagenet_classes, imagenet_synsets
from robustlab.data.images import SUFFIXES, UNUSUAL, plain, read, readable, values
from robustlab.data.memory import check_ids, unit

if TYPE_CHECKING:
    from PIL import Image

_HASHED = 256  # files whose content is part of the hash


@dataclass(frozen=True)
class Framing:
    """How an image becomes a square of fixed size.

    The shorter side is scaled to ``size / crop`` (bicubic), then the centre is cut out. An image that has the size
    already is left as it is.

    Args:
        size: height and width, in pixels; None: images stay as they are and must all have one size.
        crop: share of the shorter side that is kept; 0.875 is customary for ImageNet.
        channels: 3 for colour, 1 for grey.
    """

    size: int | None = None
    crop: float = 0.875
    channels: int = 3

    def __post_init__(self) -> None:
        if (self.size is not None and self.size < 1) or not 0 < self.crop <= 1 or self.channels not in (1, 3):
            raise ValueError(f"{self}: size must be positive, crop in (0, 1] and channels 1 or 3")

    def __call__(self, image: Image.Image) -> Tensor:
        """A PIL image as uint8 (C, H, W); as float32 in [0, 1] where it has more than 8 bits.

        Raises: ValueError for an image whose values have no known scale, see ``robustlab.data.images``.
        """
        found = plain(image, self.channels)
        if self.size is not None and found.size != (self.size, self.size):
            found = _centre(found, self.size, round(self.size / self.crop))
        return values(found, self.channels)


def _centre(image: Image.Image, size: int, shorter: int) -> Image.Image:
    from PIL import Image

    width, height = (max(shorter, round(side * shorter / min(image.size))) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    scaled = image.resize((width, height), Image.Resampling.BICUBIC)
    return scaled.crop((left, top, left + size, top + size))


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images on disk; only those of the batch at hand are in memory.

    Args:
        name: what reports call it.
        classes: names of the K classes.
        root: the folder.
        paths: of the images, relative to the root.
        y: their labels (N,), int64.
        framing: how images get their size: a value that makes uint8 (C, H, W) of a PIL image.
    """

    name: str
    classes: tuple[str, ...]
    root: Path
    paths: tuple[str, ...]
    y: Tensor
    framing: Callable[[Image.Image], Tensor] = field(default_factory=Framing)

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, ids: Tensor) -> Batch:
        """Images by their number (in the order of their paths), float32 (N, C, H, W) in [0, 1]."""
        check_ids(ids, len(self), self.name)
        numbers: list[int] = ids.tolist()
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            images = list(pool.map(self._image, numbers))
        for number, image in zip(numbers, images, strict=True):
            if image.shape != images[0].shape:
                sizes = f"{tuple(images[0].shape)} and {tuple(image.shape)}"
                raise DataError(f"{self.name} has images of {sizes} ({self.paths[number]}): give size=, say 224")
        return Batch(torch.stack(images), self.y[ids], ids)

    def _image(self, number: int) -> Tensor:
        return unit(read(self.root / self.paths[number], self.framing))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of classes, framing, all paths and file sizes, and the content of a fixed sample of 256 files."""
        digest = hashlib.sha256(repr((self.classes, self.framing, self.y.tolist())).encode())
        for path in self.paths:
            digest.update(f"{path}\0{(self.root / path).stat().st_size}\n".encode())
        for number in subset(len(self), min(_HASHED, len(self))).tolist():
            digest.update((self.root / self.paths[number]).read_bytes())
        return digest.hexdigest()


def image_folder(
    path: str | Path,
    *,
    split: str = "all",
    classes: Sequence[str] | None = None,
    framing: Callable[[Image.Image], Tensor] | None = None,
) -> ImageFolder:
    """A folder with one sub-folder of images per class.

    Args:
        path: of the folder.
        split: a sub-folder "train", "valid" or "test" ("val" counts as "valid") that has the class folders. A folder
            of class folders alone is a test set as a whole: splits "test" and "all".
        classes: names of the sub-folders in the order of their numbers; None: by alphabet. Sub-folders named by
            ImageNet synsets (n02123045) get the numbers that ImageNet models use.
        framing: how images get their size; None: they stay as they are.

    Raises: DataError if there is no such folder or split, or a class folder is empty or unknown.
    """
    root = _split_folder(Path(path).expanduser(), split)
    folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"{root} has no sub-folders: put the images of each class into a folder of its own")
    numbers, names = _numbered(folders, classes, root)
    paths, labels = [], []
    for folder in folders:
        found = _images(root, folder)
        paths += found
        labels += [numbers[folder]] * len(found)
    name = f"{Path(path).name} {split}" if split != "all" else Path(path).name
    return ImageFolder(name, names, root, tuple(paths), torch.tensor(labels), framing or Framing())


def _split_folder(path: Path, split: str) -> Path:
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    wanted = ["valid", "val"] if split in ("valid", "val") else [split]
    for name in wanted:
        if (path / name).is_dir():
            return path / name
    if split not in ("test", "all"):
        raise DataError(
            f"{path} has no sub-folder {split!r}; as it is, it is a test set as a whole: make the "
            "sub-folder, or divide split 'all' with robustlab.data.parts"
        )
    divided = [name for name in ("train", "valid", "val") if (path / name).is_dir()]
    if divided:
        raise DataError(f"{path} has the splits {', '.join(divided)}, but not {split!r}")
    return path


def _numbered(folders: list[str], classes: Sequence[str] | None, root: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Class numbers by folder name, and the names of all classes."""
    if classes is not None:
        order, names = tuple(classes), tuple(classes)
    elif all(map(is_synset, folders)):
        order, names = imagenet_synsets(), imagenet_classes()
    else:
        order, names = tuple(folders), tuple(folders)
    unknown = sorted(set(folders) - set(order))
    if unknown:
        raise DataError(f"{root} has folders that are no class: {', '.join(unknown[:5])}")
    return {name: number for number, name in enumerate(order)}, names


def is_synset(name: str) -> bool:
    """Whether a folder is named by a WordNet number, such as n02123045."""
    return len(name) == 9 and name[0] == "n" and name[1:].isdigit()


def _images(root: Path, folder: str) -> list[str]:
    """The images of a class folder and of those inside it, by path; what only looks like one says so here."""
    found = []
    for path in (root / folder).rglob("*"):
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES | UNUSUAL or path.is_dir() or _hidden(path.relative_to(root)):
            continue
        if not readable(suffix):
            raise DataError(f"{path} is a {suffix[1:].upper()} file, which is not read here: convert it to PNG or JPEG")
        if not path.exists():
            raise DataError(f"{path} is a link to a file that is not there: copy the image itself, or delete the link")
        found.append(path.relative_to(root).as_posix())
    if not found:
        raise DataError(f"{root / folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return sorted(found)


def _hidden(path: Path) -> bool:
    """Whether a file, or a folder that it is in, is hidden or was left by an archive program."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
