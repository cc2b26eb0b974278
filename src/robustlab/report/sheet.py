"""A sheet of pictures as one PNG: clean, change, adversarial, a row per example."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from robustlab.core.errors import RunError
from robustlab.core.kinds import typed
from robustlab.report.pictures import amplification, as_array, is_image_shape
from robustlab.runs.files import replace_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = 1.5


class Row(NamedTuple):
    """One example of a sheet."""

    x: Tensor
    """Clean image (C, H, W) or (H, W) in [0, 1]."""
    x_adv: Tensor
    """Adversarial image, like ``x``."""
    before: str
    """Caption of the clean image, such as the class and its probability."""
    after: str
    """Caption of the adversarial image."""


@typed
def sheet(rows: Sequence[Row], path: str | Path) -> Path:
    """Writes a sheet of examples; the change between the images is amplified by one factor, written over it.

    Args:
        rows: the examples, at least one, all images.
        path: of the PNG.

    Returns: the path.

    Raises:
        ValueError: if there is nothing to draw, or it is no image.
        RunError: if the file cannot be written.
    """
    if not rows:
        raise ValueError("there is nothing to draw: give at least one example")
    shapes = {tuple(row.x.shape) for row in rows}
    if not all(map(is_image_shape, shapes)):
        raise ValueError(f"inputs of shape {sorted(shapes)} are no images: (1 or 3, H, W) or (H, W) can be drawn")
    try:
        replace_atomically(Path(path), partial(_save, _drawn(rows)))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another place") from error
    return Path(path)


def _drawn(rows: Sequence[Row]) -> Figure:
    from matplotlib.figure import Figure

    factor = amplification([row.x_adv - row.x for row in rows])
    figure = Figure(figsize=(3 * _INCHES, len(rows) * (_INCHES + 0.25)), layout="constrained")
    for number, row in enumerate(rows):
        change = 0.5 + factor * (row.x_adv - row.x)
        columns = ((row.x, row.before), (change, f"change \N{MULTIPLICATION SIGN}{factor}"), (row.x_adv, row.after))
        for place, (image, words) in enumerate(columns):
            axes = figure.add_subplot(len(rows), 3, 3 * number + place + 1)
            axes.imshow(as_array(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(words, fontsize=7, parse_math=False)
            axes.set_axis_off()
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=150)
