"""Maps of a run as PNG files, a folder for each image."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustlab.core.errors import RunError
from robustlab.core.kinds import typed
from robustlab.evaluation.explanations.read import read_maps
from robustlab.evaluation.explanations.record import Explanations
from robustlab.report.map_pictures import map_colours, save_png
from robustlab.report.pictures import is_image_shape


@typed
def save_maps(result: Explanations, directory: str | Path) -> Path:
    """Writes all maps of a run as PNG, in the colours of the page on white: ``IMAGE/MODEL-METHOD.png``.

    Args:
        result: with its run directory.
        directory: made if it does not exist.

    Returns: the directory.

    Raises:
        ValueError: the inputs are no images.
        RunError: maps are missing or damaged, or the files cannot be written.
    """
    if not is_image_shape(result.data.shape):
        raise ValueError(f"inputs of shape {result.data.shape} are no images: (1 or 3, H, W) or (H, W) can be drawn")
    place = Path(directory)
    for number, model in enumerate(result.models):
        for info in result.methods:
            ids, maps = read_maps(result, info.name, model=number)
            pixels = maps.values.sum(1) if maps.values.ndim == 4 else maps.values
            for i, one in zip(ids.tolist(), pixels, strict=True):
                _save(map_colours(one), place / str(i) / f"{number}-{_plain(model.name)}-{_plain(info.name)}.png")
    return place


def _plain(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "it"


def _save(colours: NDArray[np.uint8], path: Path) -> None:
    try:
        save_png(colours, path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another place") from error
