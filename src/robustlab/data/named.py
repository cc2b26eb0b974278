"""Data sets that are loaded by name: what one is made of, and the registry of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.core.types import Examples
from robustlab.data.framing import Frames, Framing
from robustlab.runs.progress import Report


class Description(NamedTuple):
    """A data set, its licence and its place."""

    name: str
    contents: str
    licence: str
    place: str | None
    """Its place on this machine; None if it would have to be fetched."""
    source: str
    """Its origin, or the places that will be tried, in order."""


class Request(NamedTuple):
    """The part of a data set that a user wants, and its form."""

    path: str
    """The text behind the colon of a name such as ``folder:photos``; "" without one."""
    split: str
    root: Path | None
    """Folder of the cache; None: the platform's."""
    size: int | Frames | None
    channels: int
    fallback: bool
    """True if other data may stand in, with a warning."""
    progress: Report | None

    @property
    def side(self) -> int | None:
        """Height and width in pixels, if given as a number or by a framing with a size."""
        return self.size if self.size is None or isinstance(self.size, int) else getattr(self.size, "size", None)

    @property
    def framing(self) -> Frames:
        """The way from an image of any size to a tensor."""
        return Framing(self.size, channels=self.channels) if isinstance(self.size, int | None) else self.size


Describe = Callable[[Path | None], Description]
"""From the folder of the cache."""


@typed
@dataclass(frozen=True)
class DataSet:
    """A data set, or a kind of them, that is loaded by name.

    Args:
        read: gives the examples of a request; ValueError for an unknown split, DataError without the data.
        describe: its description.
        fill_in: word for the text behind the colon, as PATH in "folder:PATH"; "" for a name without one.
        splits: all there are, for a command that reads it through; "all" alone where they are not known.
        training: whether there is a training set.
    """

    read: Callable[[Request], Examples]
    describe: Describe
    fill_in: str = ""
    splits: tuple[str, ...] = ("all",)
    training: bool = True


_FIRST = (
    "fashion-mnist", "fashion-mnist-a", "digits", "photographs", "folder", "torchvision", "imagenet", "imagenet-c",
    "cifar-c", "corrupted", "imagenet-a", "imagenet-o",
)  # fmt: skip
DATA_SETS: Registry[DataSet] = Registry("data set", "robustlab.data", "robustlab.data", first=_FIRST)
"""All data sets by name, those with a path by the word before the colon."""


@typed
def register(name: str, member: DataSet) -> None:
    """Adds a data set.

    Args:
        name: what ``load`` knows it by; of one with a path the word before the colon.
        member: the data set.

    Raises: ValueError if the name is taken.
    """
    DATA_SETS.register(name, member)


def names() -> tuple[str, ...]:
    """All names that ``load`` accepts."""
    return tuple(f"{name}:{one.fill_in}" if (one := DATA_SETS[name]).fill_in else name for name in DATA_SETS)


def splits_of_name(name: str) -> tuple[str, ...]:
    """All splits of a data set that is given by name; "all" where they are not known."""
    word = name.partition(":")[0]
    return DATA_SETS[word].splits if word in DATA_SETS else ("all",)
