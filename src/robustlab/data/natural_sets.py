"""ImageNet-A and ImageNet-O: real, unmodified photographs that ImageNet models get wrong; and ImageNet itself."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.core.types import Examples
from robustlab.data.folder import ImageFolder, image_folder
from robustlab.data.framing import PublishedFraming
from robustlab.data.imagenet import imagenet_a_classes, imagenet_synsets
from robustlab.data.splits import Part

_SHOWN, _AT_A_TIME = 200, 64


def imagenet(path: str | Path, *, size: int = 224) -> ImageFolder:
    """ImageNet's validation images: root/wnid/* or root/val/wnid/*, framed like ImageNet-A and ImageNet-O.

    Args:
        path: the root.
        size: height and width for the model, in pixels.

    Raises: DataError if a folder is not named by a synset of ImageNet.
    """
    root = Path(path).expanduser()
    found = root / "val" if (root / "val").is_dir() else root
    unknown = sorted(_folders(found) - set(imagenet_synsets()))
    if unknown:
        raise DataError(f"{found} is not ImageNet: {unknown[0]} is no synset of its classes, such as n02123045")
    return image_folder(found, split="all", framing=PublishedFraming(size))


def imagenet_a(path: str | Path, *, size: int = 224) -> ImageFolder:
    """ImageNet-A as published: root/wnid/*, 7,500 photographs of 200 of ImageNet's classes.

    Labels are ImageNet's 1,000 numbers. Published accuracies are among the 200 classes alone (``imagenet_a_classes``);
    ``robustlab.evaluation.corruptions.hard`` gives both.

    Args:
        path: the root.
        size: height and width that the model takes, in pixels.

    Raises: DataError if the folder has other classes than the benchmark, or not all of them.
    """
    synsets = imagenet_synsets()
    expected = {synsets[number] for number in imagenet_a_classes().tolist()}
    folders = _folders(Path(path).expanduser())
    wrong = sorted(folders - expected)
    if wrong:
        raise DataError(
            f"{path} is not ImageNet-A: {len(wrong)} of its {len(folders)} folders are no class of it, such as "
            f"{wrong[0]}; give another folder of images with folder:PATH"
        )
    if folders != expected:
        missing = sorted(expected - folders)
        raise DataError(
            f"{path} has {len(folders)} of the {_SHOWN} classes of ImageNet-A, {missing[0]} is missing: is it complete?"
        )
    return image_folder(path, split="all", framing=PublishedFraming(size))


def imagenet_o(path: str | Path, *, size: int = 224) -> ImageFolder:
    """ImageNet-O as published: root/wnid/*, 2,000 photographs that show none of ImageNet's classes.

    The label is a wrong prediction, not the content of the image; the folders are named by it. Confidence is measured
    among the 200 classes that occur (other ones than ImageNet-A's).

    Args:
        path: the root.
        size: height and width that the model takes, in pixels.

    Raises: DataError if the folder has another layout.
    """
    synsets = imagenet_synsets()
    folders = _folders(Path(path).expanduser())
    if folders == {synsets[number] for number in imagenet_a_classes().tolist()}:
        raise DataError(f"{path} is ImageNet-A: give it as imagenet-a:PATH")
    unknown = sorted(folders - set(synsets))
    if unknown or len(folders) != _SHOWN:
        what = f"{unknown[0]} is no class of ImageNet" if unknown else f"it has {len(folders)} folders"
        raise DataError(f"{path} is not ImageNet-O: {what}, expected {_SHOWN} folders named by ImageNet synsets")
    return image_folder(path, split="all", framing=PublishedFraming(size))


@typed
def of_classes(data: Examples, classes: Tensor) -> Part:
    """The examples of some classes, such as the validation images for ImageNet-O.

    Args:
        data: a labelled data set.
        classes: numbers of the classes.

    Raises: DataError if it has no example of these classes.
    """
    y = labels_of(data)
    rows = torch.isin(y, classes.to(y)).nonzero()[:, 0]
    if not len(rows):
        raise DataError(f"{data.name} has no example of the {len(classes)} classes: give another data set")
    return Part(f"{data.name} ({len(classes)} classes)", data, rows)


def labels_of(data: Examples) -> Tensor:
    """The labels of all examples (N,); a data set without a list of them is read, some examples at a time."""
    if isinstance(data, Part):
        return labels_of(data.whole)[data.rows]
    y = getattr(data, "y", None)
    if isinstance(y, Tensor):
        return y
    return torch.cat([data.batch(ids).y for ids in torch.arange(len(data)).split(_AT_A_TIME)])


def _folders(root: Path) -> set[str]:
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    return {entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
