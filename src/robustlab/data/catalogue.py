"""Data sets by name."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.core.text import choice
from robustlab.core.types import Examples
from robustlab.data.cache import metadata_of
from robustlab.data.digits import digits
from robustlab.data.fashion_mnist import cache_path, default_sources, fashion_mnist
from robustlab.data.fashion_mnist_a import RECORD, fashion_mnist_a
from robustlab.data.folder import image_folder
from robustlab.data.framing import Frames, Framing
from robustlab.data.layouts import LAYOUTS, read_layout
from robustlab.data.photos import labelled_photographs
from robustlab.data.sources import Progress
from robustlab.data.torchvision_sets import PREFIX, torchvision_set

FOLDER = "folder:"
_LARGE_DIGITS = 28
_FALLBACK = "FALLING BACK to scikit-learn's digits (1,797 images, enlarged to 28x28): results are not comparable."


class Description(NamedTuple):
    """What a data set is and where it is."""

    name: str
    contents: str
    licence: str
    place: str | None
    """Where it lies, or None if it would have to be fetched."""
    source: str
    """Where it was found, or the places that will be tried, in order."""


@typed
def names() -> tuple[str, ...]:
    """What ``load`` knows by name."""
    return (
        "fashion-mnist",
        "fashion-mnist-a",
        "digits",
        "photographs",
        "folder:PATH",
        f"{PREFIX}NAME",
        *(f"{kind}:PATH" for kind in LAYOUTS),
    )


@typed
def load(
    name: str,
    *,
    split: str = "test",
    root: str | Path | None = None,
    size: int | Frames | None = None,
    channels: int = 3,
    fallback: bool = False,
    progress: Progress | None = None,
) -> Examples:
    """A labelled data set by name.

    Args:
        name: "fashion-mnist", "fashion-mnist-a" (the hard ones of it), "digits", "photographs", "folder:PATH" with a
            sub-folder of images per class, "torchvision:Flowers102" and its like, or a published layout such as
            "imagenet-c:PATH".
        split: "train", "test", or "all" for both; Fashion-MNIST-A has "suspects" too, see ``docs/guide/mining.md``.
        root: folder of the cache; None: ``$ROBUSTLAB_HOME`` or the platform's.
        size: height and width of photographs and of images in folders and of torchvision (scaled so that 0.875 of the
            shorter side is left, the centre cut out); or a ``Framing``, for another way to this size. None: 224, or as
            they are. 28 enlarges the digits to the size of Fashion-MNIST.
        channels: of images in folders, 3 or 1, unless a framing says it.
        fallback: take the digits, with a warning, if no source has Fashion-MNIST.
        progress: told about downloads; see ``progress_bars``.

    Returns: examples whose ``batch`` gives float32 images (N, C, H, W) in [0, 1].

    Raises:
        ValueError: no such name or split.
        DataError: it cannot be had; says what was tried.
    """
    framing = Framing(size, channels=channels) if size is None or isinstance(size, int) else size
    if name.startswith(FOLDER):
        return image_folder(name.removeprefix(FOLDER), split=split, framing=framing)
    given, size = size, size if size is None or isinstance(size, int) else getattr(size, "size", None)
    if (published := read_layout(name, split=split, size=size, channels=channels)) is not None:
        return published
    place = Path(root) if root else None
    if name.startswith(PREFIX):
        return torchvision_set(name.removeprefix(PREFIX), split, size=given, root=place)
    if name == "digits":
        return digits(split, enlarged=size == _LARGE_DIGITS)
    if name == "fashion-mnist-a":
        return fashion_mnist_a(split, root=place, progress=progress)
    if name == "photographs":
        return labelled_photographs(size or 224)
    if name != "fashion-mnist":
        raise ValueError(f"no data set is called {name!r}{choice(name, names(), told='there are ')}")
    try:
        return fashion_mnist(split, root=place, progress=progress)
    except DataError as error:
        if not fallback:
            raise
        warnings.warn(f"{error}\n{_FALLBACK}", stacklevel=2)
        return digits(split, enlarged=True)


@typed
def describe(root: str | Path | None = None) -> tuple[Description, ...]:
    """Every data set that ``load`` knows: what it is, its licence, and where it is or would come from."""
    return (
        _fashion_mnist(Path(root) if root else None),
        Description(
            "fashion-mnist-a",
            "images of Fashion-MNIST, as they are, that a committee of networks gets wrong with confidence",
            "MIT (Zalando SE)",
            str(RECORD),
            "numbers of images that come with the package",
        ),
        Description(
            "digits",
            "1,797 handwritten digits, 8x8 grey, 10 classes",
            "CC BY 4.0 (UCI machine learning repository)",
            "inside the package scikit-learn",
            "installed",
        ),
        Description(
            "photographs",
            "5 photographs with their ImageNet class",
            "CC0, public domain, CC BY 2.0: see NOTICE",
            "inside the packages scikit-image and scikit-learn",
            "installed with the notebooks",
        ),
        Description("folder:PATH", "a folder of images per class", "yours", None, "your disk"),
        Description(
            f"{PREFIX}NAME",
            "sets of torchvision with one class per image: Flowers102, OxfordIIITPet, Food101, CIFAR10, ...",
            "each its own",
            None,
            "where torchvision downloads it from",
        ),
        *(Description(f"{kind}:PATH", one.contents, one.licence, None, one.source) for kind, one in LAYOUTS.items()),
    )


def _fashion_mnist(root: Path | None) -> Description:
    contents = "60,000 + 10,000 images of clothes, 28x28 grey, 10 classes"
    found = {path: metadata_of(path) for path in (cache_path(split, root) for split in ("train", "test"))}
    if None in found.values():
        tried = "; ".join(str(source) for source in default_sources(root))
        return Description("fashion-mnist", contents, "MIT (Zalando SE)", None, tried)
    origins = {(metadata or {}).get("source", "unknown") for metadata in found.values()}
    place = str(cache_path("test", root).parent)
    return Description("fashion-mnist", contents, "MIT (Zalando SE)", place, "; ".join(sorted(origins)))
