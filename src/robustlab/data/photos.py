"""A few real photographs of scikit-image and scikit-learn, with their ImageNet classes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.data.framing import Framing
from robustlab.data.imagenet import imagenet_classes
from robustlab.data.images import read
from robustlab.data.memory import InMemory, unit
from robustlab.data.named import DataSet, Description, Request, register


class _Kept(NamedTuple):
    """Path, label and description of a photograph."""

    package: str
    file: str
    sha256: str
    label: int | None
    also: tuple[int, ...]
    about: str


_CREDITS = {
    "chelsea": "CC0, Stefan van der Walt",
    "coffee": "CC0, Rachel Michetti, courtesy of Pikolo Espresso Bar",
    "rocket": "public domain, SpaceX",
    "camera": "CC0, Lav Varshney",
    "astronaut": "public domain, NASA",
    "china": "CC BY 2.0, danielbuechele",
}
_KEPT = {
    "chelsea": _Kept(
        "skimage",
        "data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        285,
        (281, 282),
        "a cat",
    ),
    "coffee": _Kept(
        "skimage",
        "data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        967,
        (504, 968),
        "a cup of espresso",
    ),
    "rocket": _Kept(
        "skimage",
        "data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        657,
        (744,),
        "a rocket at its launch",
    ),
    "camera": _Kept(
        "skimage",
        "data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        872,
        (),
        "a camera on a tripod, grey",
    ),
    "china": _Kept(
        "sklearn",
        "datasets/images/china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        698,
        (),
        "a pavilion of the Summer Palace",
    ),
    "astronaut": _Kept(
        "skimage",
        "data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        None,
        (),
        "an astronaut; ImageNet has no such class",
    ),
}


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph, ready for an ImageNet model.

    Args:
        name: in ``photographs``.
        x: the image (1, 3, S, S), float32 in [0, 1].
        label: its ImageNet class; None: there is none.
        also: further classes that count as right.
        about: its content.
        credit: licence and photographer.
    """

    name: str
    x: Tensor
    label: int | None
    also: tuple[int, ...]
    about: str
    credit: str

    @property
    def y(self) -> Tensor:
        """The label (1,), int64.

        Raises: ValueError if ImageNet has no class for it.
        """
        if self.label is None:
            raise ValueError(f"photograph {self.name!r} shows no class of ImageNet: choose another one")
        return torch.tensor([self.label])


@typed
def photographs(size: int = 224) -> dict[str, Photograph]:
    """All photographs by name: the shorter side is scaled to ``size`` pixels and the centre cut out.

    Raises: DataError if scikit-image is not installed, or a file has another content.
    """
    return {name: _photograph(name, size) for name in _KEPT}


def labelled_photographs(size: int = 224) -> InMemory:
    """The photographs that show an ImageNet class, as a data set with ImageNet's 1,000 classes."""
    shown = [photo for photo in photographs(size).values() if photo.label is not None]
    x = torch.cat([photo.x for photo in shown]).mul(255).round().to(torch.uint8)
    y = torch.cat([photo.y for photo in shown])
    return InMemory("photographs", imagenet_classes(), x, y, "scikit-image's and scikit-learn's own files")


def _photograph(name: str, size: int) -> Photograph:
    kept = _KEPT[name]
    x = unit(read(_file(kept), Framing(size, crop=1.0))).unsqueeze(0)
    return Photograph(name, x, kept.label, kept.also, kept.about, _CREDITS[name])


def _file(kept: _Kept) -> Path:
    # The package is only located, not imported: this takes no time, and never downloads.
    spec = find_spec(kept.package)
    if spec is None or spec.origin is None:
        raise DataError("the photographs come with scikit-image: pip install scikit-image")
    path = Path(spec.origin).parent / kept.file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != kept.sha256:
        raise DataError(f"{path} is missing or not the expected photograph: install scikit-image again")
    return path


def _read(request: Request) -> InMemory:
    return labelled_photographs(request.side or 224)


def _description(root: Path | None) -> Description:
    del root
    return Description(
        "photographs",
        "5 photographs with their ImageNet class",
        "CC0, public domain, CC BY 2.0: see NOTICE",
        "inside the packages scikit-image and scikit-learn",
        "installed with the notebooks",
    )


register("photographs", DataSet(_read, _description))
