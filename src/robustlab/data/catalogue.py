"""Data sets by name."""

from __future__ import annotations

from pathlib import Path

from robustlab.core.kinds import typed
from robustlab.core.text import choice
from robustlab.core.types import Examples
from robustlab.data.framing import Frames
from robustlab.data.named import DATA_SETS, Description, Request, names
from robustlab.runs.progress import Report

FOLDER = "folder:"


@typed
def load(
    name: str,
    *,
    split: str = "test",
    root: str | Path | None = None,
    size: int | Frames | None = None,
    channels: int = 3,
    fallback: bool = False,
    progress: Report | None = None,
) -> Examples:
    """A labelled data set by name.

    Args:
        name: "fashion-mnist", "fashion-mnist-a" (its mined hard images), "digits", "photographs", "folder:PATH" with a
            sub-folder of images per class, "torchvision:Flowers102" and similar, or a published layout such as
            "imagenet-c:PATH".
        split: "train", "test", or "all" for both; Fashion-MNIST-A has "suspects" too, see ``docs/guide/mining.md``.
        root: folder of the cache; None: ``$ROBUSTLAB_HOME`` or the platform's.
        size: height and width of photographs and of images in folders and of torchvision (the centre is cut out after
            scaling, 0.875 of the shorter side); or a ``Framing`` for another method. None: 224, or unchanged. 28
            enlarges the digits to the size of Fashion-MNIST.
        channels: of images in folders, 3 or 1, unless there is a framing.
        fallback: take the digits, with a warning, if no source has Fashion-MNIST.
        progress: called with the progress of downloads; see ``progress_bars``.

    Returns: examples whose ``batch`` gives float32 images (N, C, H, W) in [0, 1].

    Raises:
        ValueError: an unknown name or split.
        DataError: it is not available; the message lists the sources that were tried.
    """
    word, colon, path = name.partition(":")
    if word not in DATA_SETS or bool(DATA_SETS[word].fill_in) != bool(colon):
        raise ValueError(f"no data set is called {name!r}{choice(name, names(), intro='there are ')}")
    request = Request(path, split, Path(root) if root else None, size, channels, fallback, progress)
    return DATA_SETS[word].read(request)


@typed
def describe(root: str | Path | None = None) -> tuple[Description, ...]:
    """Every data set that ``load`` knows: contents, licence, and place or source."""
    return tuple(one.describe(Path(root) if root else None) for one in DATA_SETS.members())
