"""Folders of images, one sub-folder per class, read a batch at a time."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.random import subset
from robustlab.core.types import Batch
from robustlab.data.class_order import JUNK, Aliases, class_folders, is_synset, ordered
from robustlab.data.framing import Frames, Framing
from robustlab.data.imagenet import imagenet_classes, imagenet_synsets
from robustlab.data.images import SUFFIXES, UNUSUAL, read, readable
from robustlab.data.memory import check_ids, unit
from robustlab.data.named import DataSet, Description, Request, register

_log = logging.getLogger(__name__)
_SPLITS = ("train", "valid", "val", "test")
_HASHED = 256  # files whose content is part of the hash


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images on disk; only those of the current batch are in memory.

    Args:
        name: in reports.
        classes: names of the K classes.
        root: the folder.
        paths: of the images, relative to the root.
        y: their labels (N,), int64.
        framing: scaling of the images: a value from a PIL image to uint8 (C, H, W).
    """

    name: str
    classes: tuple[str, ...]
    root: Path
    paths: tuple[str, ...]
    y: Tensor
    framing: Frames = field(default_factory=Framing)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def preprocessing(self) -> str:
        """Scaling of the images, for reports."""
        return str(self.framing)

    def batch(self, ids: Tensor) -> Batch:
        """Images by their number (in the order of their paths), float32 (N, C, H, W) in [0, 1]."""
        check_ids(ids, len(self), self.name)
        numbers: list[int] = ids.tolist()
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            images = list(pool.map(self._image, numbers))
        for number, image in zip(numbers, images, strict=True):
            if image.shape != images[0].shape:
                sizes = f"{tuple(images[0].shape)} and {tuple(image.shape)}"
                raise DataError(
                    f"{self.name} has images of {sizes} ({self.paths[number]}): give size=, say 224 (--size 224)"
                )
        return Batch(torch.stack(images), self.y[ids], ids)

    def _image(self, number: int) -> Tensor:
        return unit(read(self.root / self.paths[number], self.framing))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of classes, framing, all paths and file sizes, and the content of a fixed sample of 256 files."""
        digest = hashlib.sha256(repr((self.classes, self.framing, self.y.tolist())).encode())
        try:
            for path in self.paths:
                digest.update(f"{path}\0{(self.root / path).stat().st_size}\n".encode())
            for number in subset(len(self), min(_HASHED, len(self))).tolist():
                digest.update((self.root / self.paths[number]).read_bytes())
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
        return digest.hexdigest()


def image_folder(
    path: str | Path,
    *,
    split: str = "all",
    classes: Sequence[str] | str | Path | None = None,
    framing: Frames | None = None,
) -> ImageFolder:
    """A folder with one sub-folder of images per class.

    Images may be in folders inside their class folder. Hidden files and folders of programs are left out; so are images
    outside the class folders, with a warning.

    Args:
        path: of the folder.
        split: a sub-folder "train", "valid" or "test" ("val" counts as "valid") that has the class folders. A folder
            of class folders alone is a test set as a whole: splits "test" and "all".
        classes: names of the sub-folders in the order of their numbers, or their source, see
            ``robustlab.data.class_order.ordered``; None: by alphabet. Sub-folders named by ImageNet synsets (n02123045)
            get the numbers that ImageNet models use.
        framing: scaling of the images; None: they keep their size.

    Raises: DataError if there is no such folder or split, or a class folder is empty or unknown.
    """
    root = _split_folder(Path(path).expanduser(), split)
    folders = _class_folders(root)
    numbers, names = _numbered(folders, classes, root)
    paths, labels = [], []
    for folder in folders:
        found = _images(root, folder)
        if not found and classes is None:
            raise DataError(
                f"{root / folder} holds no image ({', '.join(sorted(SUFFIXES))}): delete the folder, or say which "
                "classes there are (--classes-from, or classes=)"
            )
        paths += found
        labels += [numbers[folder]] * len(found)
    if not paths:
        raise DataError(f"{root} holds no image in its class folders")
    name = f"{Path(path).name} {split}" if split != "all" else Path(path).name
    return ImageFolder(name, names, root, tuple(paths), torch.tensor(labels), framing or Framing())


def splits_of(path: Path) -> list[str]:
    """Sub-folders train, valid, val and test that hold class folders and are no classes themselves."""
    return [name for name in _SPLITS if (path / name).is_dir() and class_folders(path / name)]


def _split_folder(path: Path, split: str) -> Path:
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    wanted, there = (["valid", "val"] if split in ("valid", "val") else [split]), splits_of(path)
    for name in wanted:
        if name in there or (name not in _SPLITS and name != "all" and (path / name).is_dir()):
            return path / name
    if there:
        named = ", ".join(there)
        raise DataError(f"{path} has the splits {named}, but not {split!r}: ask for one of them (--split {there[-1]})")
    if split not in ("test", "all"):
        raise DataError(
            f"{path} has no sub-folder {split!r}, so all of it is a test set: make the "
            "sub-folder, or divide split 'all' with robustlab.data.parts"
        )
    return path


def _class_folders(root: Path) -> list[str]:
    """Checked names of the class folders."""
    folders, loose = class_folders(root), [path.name for path in root.iterdir() if _is_image(path)]
    if not folders:
        what = f"has images such as {loose[0]}, but no sub-folders" if loose else "has no sub-folders"
        raise DataError(f"{root} {what}: put the images of each class into a folder of its own")
    inside = class_folders(root / folders[0])
    if len(folders) == 1 and len(inside) > 1 and not any(_is_image(path) for path in (root / folders[0]).iterdir()):
        raise DataError(
            f"{root} has one sub-folder, {folders[0]}, in which the class folders lie ({', '.join(inside[:3])}): give "
            f"{root / folders[0]}"
        )
    if loose:
        _log.warning(
            "%s: %d images beside the class folders are left out, such as %s: put them into the folder of their class",
            root, len(loose), min(loose),
        )  # fmt: skip
    return folders


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _numbered(
    folders: list[str], classes: Sequence[str] | str | Path | None, root: Path
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Class numbers by folder name, and the names of all classes."""
    if classes is None and all(map(is_synset, folders)):
        order: tuple[Aliases, ...] = tuple(zip(imagenet_synsets(), imagenet_classes(), strict=True))
    else:
        order = ordered(folders if classes is None else classes)
    numbers = {alias: number for number, aliases in enumerate(order) for alias in reversed(aliases)}
    numbers |= {aliases[0]: number for number, aliases in enumerate(order)}
    unknown = sorted(set(folders) - numbers.keys())
    if unknown:
        there = ", ".join(aliases[0] for aliases in order[:5])
        raise DataError(
            f"{root} has folders that are no class: {', '.join(unknown[:5])}; classes are {there}"
            f"{' and so on' if len(order) > 5 else ''}"
        )
    return numbers, tuple(aliases[-1] for aliases in order)


def _images(root: Path, folder: str) -> list[str]:
    """The images of a class folder and of folders inside it, by path; warns about files that are no images."""
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
    return sorted(found)


def _hidden(path: Path) -> bool:
    """True if a file or one of its folders is hidden or was left by an archive program."""
    return any(part.startswith(".") or part in JUNK for part in path.parts)


def _read(request: Request) -> ImageFolder:
    return image_folder(request.path, split=request.split, framing=request.framing)


def _description(root: Path | None) -> Description:
    del root
    return Description("folder:PATH", "a folder of images per class", "yours", None, "your disk")


register("folder", DataSet(_read, _description, fill_in="PATH"))
