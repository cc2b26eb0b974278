"""Names of the 1,000 classes of ImageNet."""

from __future__ import annotations

import pkgutil
from functools import cache

import torch
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed

_CLASSES = 1000


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The first name of each class, in the order that ImageNet models use.

    Example:
        >>> imagenet_classes()[285]
        'Egyptian cat'
    """
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    return tuple(info.index_to_description(k).split(",")[0] for k in range(_CLASSES))


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """The WordNet number of each class (its folder's name), in the same order."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    return tuple(info.index_to_label_name(k) for k in range(_CLASSES))


@typed
def imagenet_a_classes() -> Tensor:
    """Numbers of the 200 classes of ImageNet-A (200,), int64, ascending.

    Raises: DataError if the installed timm does not list them.
    """
    return torch.tensor(_imagenet_a())


@cache
def _imagenet_a() -> tuple[int, ...]:
    try:
        listed = pkgutil.get_data("timm.data", "_info/imagenet_a_synsets.txt")
    except OSError:
        listed = None
    if listed is None:
        raise DataError("the installed timm does not list the classes of ImageNet-A: pip install -U timm")
    numbers = {synset: number for number, synset in enumerate(imagenet_synsets())}
    return tuple(sorted(numbers[synset] for synset in listed.decode().split()))
