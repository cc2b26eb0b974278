"""What the 1,000 classes of ImageNet are called."""

from __future__ import annotations

from functools import cache

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
