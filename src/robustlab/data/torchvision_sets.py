"""Data sets of torchvision by name: downloaded and unpacked by torchvision, read an image at a time."""

from __future__ import annotations

import contextlib
import http.client
import inspect
import operator
import sys
import tarfile
import zipfile
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import ConcatDataset

from robustlab.core.errors import DataError
from robustlab.data.cache import home, locked
from robustlab.data.framing import Frames, Framing
from robustlab.data.images import plain
from robustlab.data.memory import class_names
from robustlab.data.named import DataSet, Description, Request, register
from robustlab.data.wrapped import FromDataset, MapStyle
from robustlab.runs.files import sweep, whole_folder

if TYPE_CHECKING:
    from PIL import Image

PREFIX = "torchvision:"
_OTHER_NAMES = {"train": ("train", "trainval"), "valid": ("valid", "val"), "val": ("val", "valid")}
_WHOLE = ("train", "valid", "test")
_COMPARED = 8  # images whose sizes are compared before anything is computed
_NOT_HAD = (OSError, RuntimeError, ValueError, ImportError, EOFError, http.client.HTTPException, tarfile.TarError,
            zipfile.BadZipFile)  # fmt: skip


def torchvision_set(
    name: str, split: str, *, size: int | Frames | None = None, root: Path | None = None
) -> FromDataset:
    """A labelled image set of torchvision, which downloads it if needed.

    Any class of ``torchvision.datasets`` works that needs only ``split=`` or ``train=``, with items of an image and the
    number of its class.

    Args:
        name: of the class: "Flowers102", "OxfordIIITPet", "CIFAR10".
        split: one of its own; "train" is "trainval" where there is no other, "valid" may be "val"; "all" is train,
            valid and test together.
        size: height and width of the scaled images, as in folders, with a grey set in grey; or a framing; None: they
            keep their size.
        root: folder of the cache; None: ``$ROBUSTLAB_HOME`` or the platform's. The set is in ``torchvision/NAME``.

    Raises:
        ValueError: no such class or split, or items that are something else.
        DataError: it is not available, or its images differ in size and ``size`` is None.
    """
    kind = _kind(name)
    place = (root or home()) / "torchvision" / kind.__name__
    with locked(place), contextlib.redirect_stdout(sys.stderr):  # some say on stdout how far they are
        sets = _sets(kind, split, place)
    image, classes = _check_items(sets[0], kind.__name__), _classes(sets, kind.__name__)
    own = Framing(size if isinstance(size, int) else None, channels=3 if plain(image).mode == "RGB" else 1)
    framing = own if size is None or isinstance(size, int) else size
    data: MapStyle = sets[0] if len(sets) == 1 else ConcatDataset(sets)
    if size is None:
        _check_sizes(data, kind.__name__)
    return FromDataset(f"{kind.__name__} {split}", classes, data, framing)


def _kind(name: str) -> Any:  # noqa: ANN401 -- a class of torchvision
    """The class of a name, in upper or lower case.

    Raises: ValueError if there is none, or it needs more than a folder and a split.
    """
    from torchvision import datasets

    every = {word: kind for word, kind in vars(datasets).items() if inspect.isclass(kind)}
    found = next((kind for word, kind in every.items() if word.lower() == name.lower()), None)
    fitting = sorted(word for word, kind in every.items() if fits(kind))
    if found is None:
        close = get_close_matches(name, fitting, n=3, cutoff=0.5) or fitting
        raise ValueError(f"torchvision has no data set {name!r}; there are {', '.join(close)}")
    if not fits(found):
        raise ValueError(
            f"torchvision's {found.__name__} is not made from a name and a split alone: make it yourself and wrap it "
            "with robustlab.data.examples"
        )
    return found


def fits(kind: type) -> bool:
    """True if a class needs only a folder and a split, and has targets."""
    taken = inspect.signature(kind).parameters
    needed = {word for word, one in taken.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
    splits = taken.keys() & {"split", "train"}
    return {"root", "target_transform"} <= taken.keys() and needed <= {"root", "split"} and bool(splits)


def _sets(kind: Any, split: str, place: Path) -> list[Any]:  # noqa: ANN401 -- a class of torchvision
    """The sets of a split.

    Raises: ValueError for a split that there is not.
    """
    if "split" not in inspect.signature(kind).parameters:
        words = ("train", "test") if split == "all" else (split,)
        if not {"train", "test"}.issuperset(words):
            raise ValueError(f"torchvision's {kind.__name__} has no split {split!r}: choose train, test or all")
        return [_had(kind, {"train": word == "train"}, place) for word in words]
    if split != "all":
        return [_of_split(kind, split, place)[1]]
    found: dict[str, Any] = {}
    for word in _WHOLE:
        if word != "valid" or "trainval" not in found:
            with contextlib.suppress(ValueError):
                own, one = _of_split(kind, word, place)
                found[own] = one
    if not found:
        raise ValueError(f"torchvision's {kind.__name__} has no split called train, valid or test: name one of its own")
    return list(found.values())


def _of_split(kind: Any, split: str, place: Path) -> tuple[str, Any]:  # noqa: ANN401 -- a class of torchvision
    """A split's own name, and its set."""
    reason = ""
    for own in _OTHER_NAMES.get(split, (split,)):
        try:
            return own, _had(kind, {"split": own}, place)
        except ValueError as error:
            reason = reason or str(error)
    raise ValueError(f"torchvision's {kind.__name__}: {reason}")


def _had(kind: Any, how: dict[str, Any], place: Path) -> Any:  # noqa: ANN401 -- a class of torchvision
    """The set, downloaded if it is missing.

    Raises: ValueError for an unknown split; DataError if it is not available.
    """
    try:
        return kind(place, **how)
    except (OSError, RuntimeError) as error:
        missing = error
    try:
        if "download" not in inspect.signature(kind).parameters:
            raise missing
        _download(kind, how, place)
        return kind(place, **how)
    except _NOT_HAD as error:
        reason = (str(error).splitlines() or [""])[0].strip("<>") or type(error).__name__
        raise DataError(
            f"torchvision's {kind.__name__} is not available: it is not in {place}, and torchvision says: {reason}; go "
            "online once, or copy a root folder of torchvision's that holds it to that place"
        ) from error


def _download(kind: Any, how: dict[str, Any], place: Path) -> None:  # noqa: ANN401 -- a class of torchvision
    """Downloads a set by torchvision, the first time into a temporary folder, so that it is complete or missing.

    Another split is downloaded into the final folder, by torchvision's own rules.
    """
    if place.is_dir():
        kind(place, download=True, **how)
        return
    sweep(place.parent, f"{place.name}.")
    with whole_folder(place, durable=False) as part:
        kind(part, download=True, **how)


def _check_items(data: Any, name: str) -> Image.Image:  # noqa: ANN401 -- a set of torchvision
    """The first image.

    Raises: ValueError if items are no pairs of an image and a number.
    """
    from PIL import Image

    item = data[0]
    image = item[0] if isinstance(item, tuple) and len(item) == 2 else None
    if not isinstance(image, Image.Image) or not _is_number(item[1]):
        raise ValueError(
            f"an item of torchvision's {name} is {_kinds(item)}, not an image and the number of its class: it is no "
            "set for classification"
        )
    image.load()  # closes its file
    return image


def _is_number(label: object) -> bool:
    """True if a label is a whole number of Python or NumPy."""
    try:
        operator.index(label)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _kinds(item: object) -> str:
    """The types of an item's parts."""
    parts = item if isinstance(item, tuple) else (item,)
    return ", ".join(type(part).__name__ for part in parts)


def _classes(sets: list[Any], name: str) -> tuple[str, ...]:
    """Names of the classes where the set has them, else their numbers.

    Raises: ValueError if it has neither.
    """
    names = getattr(sets[0], "classes", None)
    if names:
        return tuple(one if isinstance(one, str) else ", ".join(one) for one in names)
    named = getattr(sets[0], "class_to_idx", None)
    if named:
        return tuple(sorted(named, key=named.__getitem__))
    numbers = [number for one in sets for number in _labels(one)]
    if not numbers:
        raise ValueError(
            f"torchvision's {name} has no list of its classes: make it yourself and wrap it with "
            "robustlab.data.examples(data, classes=...)"
        )
    return class_names(max(numbers) + 1, torch.empty(0))


def _labels(data: Any) -> list[int]:  # noqa: ANN401 -- a set of torchvision
    """All labels, under one of torchvision's names for them; may be empty."""
    found = next((getattr(data, name) for name in ("targets", "labels", "_labels") if hasattr(data, name)), None)
    if found is None:
        found = [label for _, label in getattr(data, "_samples", ())]
    return [int(label) for label in found]


def _check_sizes(data: MapStyle, name: str) -> None:
    """Refuses images of several sizes, judged by the first ones."""
    sizes = []
    for number in range(min(_COMPARED, len(data))):
        image, _ = cast("tuple[Image.Image, int]", data[number])
        image.load()
        sizes.append(image.size)
        if image.size != sizes[0]:
            pair = " and ".join("x".join(map(str, size)) for size in (sizes[0], image.size))
            raise DataError(f"torchvision's {name} has images of {pair} pixels: give size=, say 224 (--size 224)")


def _read(request: Request) -> FromDataset:
    return torchvision_set(request.path, request.split, size=request.size, root=request.root)


def _description(root: Path | None) -> Description:
    del root
    return Description(
        f"{PREFIX}NAME",
        "sets of torchvision with one class per image: Flowers102, OxfordIIITPet, Food101, CIFAR10, ...",
        "each its own",
        None,
        "where torchvision downloads it from",
    )


register("torchvision", DataSet(_read, _description, fill_in="NAME"))
