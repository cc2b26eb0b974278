"""Images on the command line: their size, and the order of classes of folders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, get_args

import typer

from robustlab.cli import options as o
from robustlab.cli import show

if TYPE_CHECKING:
    from torch import nn

    from robustlab.core import Examples
    from robustlab.data.framing import Framing, PublishedFraming
    from robustlab.runs.progress import Report

FOLDER, TORCHVISION, CORRUPTED = "folder:", "torchvision:", "corrupted:"
_AS_PUBLISHED = ("imagenet", "imagenet-a", "imagenet-o")
Resize = Annotated[
    str | None,
    typer.Option(
        "--resize",
        help="Resizing of images of a folder or torchvision to --size: crop (the shorter side to SIZE / 0.875, then "
        "the centre), squash (both sides to SIZE) or pad (the longer side to SIZE, the rest black). Default: as the "
        "model was trained, else crop.",
        rich_help_panel=o.INPUT,
    ),
]
Interpolation = Annotated[
    str | None,
    typer.Option(
        "--interpolation",
        help="Interpolation of Pillow, with --size: bicubic, bilinear, nearest, lanczos, box or hamming. Default: "
        "as the model was trained, else bicubic.",
        rich_help_panel=o.INPUT,
    ),
]
ClassesFrom = Annotated[
    Path | None,
    typer.Option(
        "--classes-from",
        help="Order of the classes of a folder: a text file with a name per line, JSON, or the folder that the model "
        "was trained on. Default: by alphabet, ImageNet's for synsets.",
        rich_help_panel=o.INPUT,
    ),
]


@dataclass(frozen=True)
class Images:
    """Size of images, and the order of classes, as typed."""

    size: o.Size = None
    resize: Resize = None
    interpolation: Interpolation = None
    classes_from: ClassesFrom = None

    @property
    def words(self) -> dict[str, str]:
        """Resizing and interpolation, if they were typed."""
        typed = {"resize": self.resize, "interpolation": self.interpolation}
        return {name: word for name, word in typed.items() if word is not None}

    @property
    def typed(self) -> list[str]:
        """The options as they were typed."""
        words = {"size": self.size, **self.words, "classes-from": self.classes_from}
        return [part for name, word in words.items() if word is not None for part in (f"--{name}", str(word))]


class NamedModel(NamedTuple):
    """The model that the images are for."""

    name: str
    model: nn.Module

    def framing(self) -> Framing | PublishedFraming | None:
        """Its published framing; of weights that were trained here the usual one at their size."""
        from robustlab.core.architecture import architecture_of
        from robustlab.data import Framing
        from robustlab.data.framing import PublishedFraming, framing_for

        found = framing_for(self.model)
        if isinstance(found, PublishedFraming) and Path(self.name.rpartition("=")[2]).exists():
            words = architecture_of(self.model) or {}
            kept = {name: words[name] for name in ("resize", "interpolation") if name in words}
            return Framing(found.size, channels=found.channels, **kept)  # type: ignore[arg-type]  # checked as read
        return found


def read(
    name: str, split: str, images: Images, progress: Report | None = None, named_model: NamedModel | None = None
) -> Examples:
    """A data set by name, its images of the size that was typed, else of the model's.

    Raises: BadParameter for an option that this data set does not use, or that has no effect.
    """
    from robustlab.data import Framing, load
    from robustlab.data.folder import image_folder
    from robustlab.data.ready_made import corrupted_folders

    split = _part(name, split)
    framing = framed(images, None if named_model is None else named_model.framing())
    kind = f"{name.partition(':')[0]}:"
    if images.classes_from is not None:
        if kind == CORRUPTED:
            path = name.removeprefix(CORRUPTED)
            return corrupted_folders(path, size=images.size, classes=images.classes_from)
        if kind != FOLDER:
            raise typer.BadParameter(f"--classes-from is for folders: {name} has an order of classes of its own")
        return image_folder(name.removeprefix(FOLDER), split=split, classes=images.classes_from, framing=framing)
    if kind in (FOLDER, TORCHVISION):
        if kind == TORCHVISION and named_model is None and isinstance(framing, Framing):
            framing = replace(framing, channels=None)
        return load(name, split=split, size=framing, progress=progress)
    if images.resize is not None or images.interpolation is not None:
        raise typer.BadParameter(
            f"--resize and --interpolation are for folders and torchvision: {name} has a size of its own"
        )
    size = framing.size if framing is not None and kind[:-1] in _AS_PUBLISHED else images.size
    return load(name, split=split, size=size, progress=progress)


def _part(name: str, split: str) -> str:
    """The split; all of a folder without splits, where the split for training is typed."""
    from robustlab.data.folder import splits_of

    folder = Path(name.removeprefix(FOLDER)).expanduser()
    if split != "train" or not name.startswith(FOLDER) or not folder.is_dir() or splits_of(folder):
        return split
    show.say(f"{folder} is not divided into train and val, so all of it is used; evaluate on other images.", "warning")
    return "all"


def framed(images: Images, own: Framing | PublishedFraming | None) -> Framing | PublishedFraming | None:
    """The framing that was typed; if none was, the model's own.

    Raises: BadParameter for an unknown word, or without a size.
    """
    from robustlab.core.text import choice
    from robustlab.data import Framing
    from robustlab.data.framing import Interpolation, Resize

    for flag, word, known in (
        ("--resize", images.resize, get_args(Resize)),
        ("--interpolation", images.interpolation, get_args(Interpolation)),
    ):
        if word is not None and word not in known:
            raise typer.BadParameter(f"there is no {flag} {word!r}{choice(word, known)}")
    if images.size is None and images.resize is None and images.interpolation is None:
        return own
    size = images.size or (None if own is None else own.size)
    if size is None:
        raise typer.BadParameter("--resize and --interpolation need --size: add it")
    base = own if isinstance(own, Framing) else Framing(channels=3 if own is None else own.channels)
    return replace(base, size=size, **images.words)  # type: ignore[arg-type]  # they are checked above
