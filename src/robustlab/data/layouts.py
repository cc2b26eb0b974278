"""Published data sets that are too large to download, by the layout of the user's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from robustlab.core.errors import DataError
from robustlab.core.types import Examples
from robustlab.data.named import DataSet, Description, Request, register
from robustlab.data.natural_sets import imagenet, imagenet_a, imagenet_o
from robustlab.data.ready_made import CorruptedCopies, cifar_c, corrupted_folders, imagenet_c

Reader = Callable[[str, int | None, int], Examples]
"""From path, size and channels."""


class Layout(NamedTuple):
    """A published layout."""

    contents: str
    licence: str
    source: str
    read: Reader


def _corrupted(path: str, size: int | None, channels: int) -> CorruptedCopies:
    """Corrupted copies in either layout, with any classes."""
    if (Path(path).expanduser() / "labels.npy").is_file():
        return cifar_c(path)
    return corrupted_folders(path, size=size, channels=channels)


_MIT = "MIT (Hendrycks and others; the photographs' own)"
LAYOUTS = {
    "imagenet": Layout(
        "ImageNet's validation images, root/wnid/* or root/val/wnid/*",
        "see https://www.image-net.org",
        "your disk",
        lambda path, size, _: imagenet(path, size=size or 224),
    ),
    "imagenet-c": Layout(
        "ImageNet-C: 15 + 4 corruptions at 5 severities of 50,000 images, root/corruption/severity/wnid/*.JPEG",
        "CC BY 4.0 (Hendrycks, Dietterich; the photographs' own)",
        "your disk; https://zenodo.org/records/2235448",
        lambda path, size, _: imagenet_c(path, size=size),
    ),
    "cifar-c": Layout(
        "CIFAR-10-C, CIFAR-100-C: root/corruption.npy with 5 x 10,000 images and root/labels.npy",
        "CC BY 4.0 (Hendrycks, Dietterich)",
        "your disk; https://zenodo.org/records/2535967",
        lambda path, _, __: cifar_c(path),
    ),
    "corrupted": Layout(
        "corrupted copies of your own images in either layout",
        "yours",
        "your disk; robustlab corruptions copy",
        _corrupted,
    ),
    "imagenet-a": Layout(
        "ImageNet-A: 7,500 hard photographs of 200 of ImageNet's classes, root/wnid/*",
        _MIT,
        "your disk; https://github.com/hendrycks/natural-adv-examples",
        lambda path, size, _: imagenet_a(path, size=size or 224),
    ),
    "imagenet-o": Layout(
        "ImageNet-O: 2,000 photographs outside ImageNet's classes, root/wnid/*",
        _MIT,
        "your disk; https://github.com/hendrycks/natural-adv-examples",
        lambda path, size, _: imagenet_o(path, size=size or 224),
    ),
}
"""By the word before the colon, as in imagenet-c:PATH."""


def _data_set(kind: str, layout: Layout) -> DataSet:
    """The data set of a layout.

    Its ``read`` raises DataError if the folder has another layout, or for a training split.
    """

    def read(request: Request) -> Examples:
        if request.split not in ("test", "all"):
            raise DataError(f"{kind} has no split {request.split!r}: all of it is for testing")
        return layout.read(request.path, request.side, request.channels)

    def describe(root: Path | None) -> Description:
        del root
        return Description(f"{kind}:PATH", layout.contents, layout.licence, None, layout.source)

    return DataSet(read, describe, fill_in="PATH", training=False)


for _kind, _layout in LAYOUTS.items():
    register(_kind, _data_set(_kind, _layout))
