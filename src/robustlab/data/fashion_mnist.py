"""Fashion-MNIST in full: 60,000 training and 10,000 test images of clothes, 28x28 grey, 10 classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from robustlab.core.errors import DataError
from robustlab.data.cache import home, locked, metadata_of, store, stored
from robustlab.data.digits import digits
from robustlab.data.idx import parse_idx
from robustlab.data.memory import InMemory
from robustlab.data.named import DataSet, Description, Request, register
from robustlab.data.sources import DebianPackage, Folder, Mirror, PublishedFile, Source, first_that_works
from robustlab.runs.progress import Report

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# SHA-256 of the files once unpacked, as in the Debian package 0.0~git20200523.55506a9-1.
_FILES = {
    "train": (
        PublishedFile("train-images-idx3-ubyte.gz", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        PublishedFile("train-labels-idx1-ubyte.gz", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    ),
    "test": (
        PublishedFile("t10k-images-idx3-ubyte.gz", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        PublishedFile("t10k-labels-idx1-ubyte.gz", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ),
}
# InMemory.sha256 of the prepared tensors: what is read from the cache is checked as well.
_PREPARED = {
    "train": "66e636fb6c5deea9f37f95715b371936d172b1a514a63e47d084b5549998f15b",
    "test": "721463ae71bf179b84f82c1c4788c9b097e868ab671eb3185714949c87065bb9",
}
_FALLBACK = "FALLING BACK to scikit-learn's digits (1,797 images, enlarged to 28x28): results are not comparable."
_DEBIAN_FOLDER = "usr/share/datasets/fashion-mnist"


def default_sources(root: Path | None = None) -> list[Source]:
    """Sources of the files: the user's folder, Debian's, the official mirrors, the Debian package."""
    from torchvision.datasets import FashionMNIST

    places: list[Source] = [Folder(place) for place in ([root, root / "FashionMNIST" / "raw"] if root else [])]
    places.append(Folder(Path("/", _DEBIAN_FOLDER)))
    places += [Mirror(url) for url in FashionMNIST.mirrors]
    return [*places, DebianPackage("dataset-fashion-mnist", _DEBIAN_FOLDER)]


def fashion_mnist(
    split: str = "test",
    *,
    root: Path | None = None,
    sources: Sequence[Source] | None = None,
    progress: Report | None = None,
) -> InMemory:
    """The data set, from the cache or from the first source that has it.

    Args:
        split: "train" (60,000), "test" (10,000), or "all": both as one, the training images first.
        root: folder of the cache, searched for the published files too; None: ``$ROBUSTLAB_HOME`` or the platform's.
        sources: tried in order; None: ``default_sources``.
        progress: is informed of downloads.

    Returns: uint8 images (N, 1, 28, 28) with their labels; ``batch`` returns them in [0, 1].

    Raises:
        ValueError: another split.
        DataError: no source has it, with the reason of each.
    """
    if split == "all":
        return _pool([fashion_mnist(one, root=root, sources=sources, progress=progress) for one in _FILES])
    if split not in _FILES:
        raise ValueError(f"Fashion-MNIST has the splits 'train', 'test' and 'all', not {split!r}")
    path = cache_path(split, root)
    if (found := _from_cache(path, split)) is not None:
        return found
    with locked(path):
        # Another process may have prepared it while this one waited.
        return _from_cache(path, split) or _prepare(path, split, sources or default_sources(root), progress)


def _pool(parts: Sequence[InMemory]) -> InMemory:
    """Several splits as one."""
    x, y = (torch.cat(tensors) for tensors in ([part.x for part in parts], [part.y for part in parts]))
    return InMemory(_name("all"), CLASSES, x, y, "; ".join(dict.fromkeys(part.source for part in parts)))


def cache_path(split: str, root: Path | None = None) -> Path:
    """The prepared tensors of a split."""
    return (root or home() / "data") / f"fashion-mnist-{split}.safetensors"


def _from_cache(path: Path, split: str) -> InMemory | None:
    kept = stored(path)
    if kept is None or not {"x", "y"} <= kept[0].keys():
        return None
    tensors, metadata = kept
    found = InMemory(_name(split), CLASSES, tensors["x"], tensors["y"], metadata.get("source", str(path)))
    return found if found.sha256 == _PREPARED[split] else None


def _prepare(path: Path, split: str, sources: Sequence[Source], progress: Report | None) -> InMemory:
    (images, labels), source = first_that_works("Fashion-MNIST", _FILES[split], sources, progress)
    found = InMemory(_name(split), CLASSES, parse_idx(images).unsqueeze(1), parse_idx(labels), source)
    if found.sha256 != _PREPARED[split]:
        raise DataError(f"Fashion-MNIST {split} from {source} does not have the expected content")
    store(path, {"x": found.x, "y": found.y}, {"source": source})
    return found


def _name(split: str) -> str:
    return f"Fashion-MNIST {split}"


def _read(request: Request) -> InMemory:
    """The data set, or the digits with a warning where it is not available and these may replace it."""
    try:
        return fashion_mnist(request.split, root=request.root, progress=request.progress)
    except DataError as error:
        if not request.fallback:
            raise
        warnings.warn(f"{error}\n{_FALLBACK}", stacklevel=2)
        return digits(request.split, enlarged=True)


def _description(root: Path | None) -> Description:
    contents = "60,000 + 10,000 images of clothes, 28x28 grey, 10 classes"
    found = {path: metadata_of(path) for path in (cache_path(split, root) for split in _FILES)}
    if None in found.values():
        tried = "; ".join(str(source) for source in default_sources(root))
        return Description("fashion-mnist", contents, "MIT (Zalando SE)", None, tried)
    origins = {(metadata or {}).get("source", "unknown") for metadata in found.values()}
    place = str(cache_path("test", root).parent)
    return Description("fashion-mnist", contents, "MIT (Zalando SE)", place, "; ".join(sorted(origins)))


register("fashion-mnist", DataSet(_read, _description, splits=("train", "test")))
