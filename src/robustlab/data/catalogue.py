"""Data sets by name."""

from __future__ import annotations

import warnings
from pathlib import Path

from robustlab.core.errors import DataError
from robustlab.core.types import Examples
from robustlab.data.digits import digits
from robustlab.data.fashion_mnist import fashion_mnist
from robustlab.data.sources import Progress

_FALLBACK = "FALLING BACK to scikit-learn's digits (1,797 images, enlarged to 28x28): results are not comparable."


def names() -> tuple[str, ...]:
    """What ``load`` knows by name."""
    return ("fashion-mnist", "digits", "folder:PATH")


def load(
    name: str,
    *,
    split: str = "test",
    root: str | Path | None = None,
    fallback: bool = False,
    progress: Progress | None = None,
) -> Examples:
    """A labelled data set by name.

    Args:
        name: "fashion-mnist", "digits", or "folder:PATH" with a folder of images per class.
        split: "train" or "test"; see each data set.
        root: folder of the cache; None: ``$ROBUSTLAB_HOME`` or the platform's.
        fallback: take the digits, with a warning, if no source has Fashion-MNIST.
        progress: told about downloads.

    Returns: examples whose ``batch`` gives float32 images (N, C, H, W) in [0, 1].

    Raises:
        ValueError: no such name or split.
        DataError: it cannot be had; says what was tried.
    """
    if name == "digits":
        return digits(split)
    if name == "fashion-mnist":
        try:
            return fashion_mnist(split, root=Path(root) if root else None, progress=progress)
        except DataError as error:
            if not fallback:
                raise
            warnings.warn(f"{error}\n{_FALLBACK}", stacklevel=2)
            return digits(split, enlarged=True)
    raise ValueError(f"no data set is called {name!r}; there are {', '.join(names())}")
