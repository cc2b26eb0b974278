"""Many pictures as one PNG, each with a few words under it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from robustlab.core.errors import RunError
from robustlab.core.kinds import typed
from robustlab.report.pictures import as_array, is_image_shape
from robustlab.runs.files import replace_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = 0.85
_DPI = 110


@typed
def tiles(x: Tensor, words: Sequence[str], path: str | Path, *, columns: int = 10) -> Path:
    """Writes images in rows and columns, in their order.

    Args:
        x: images (N, C, H, W) in [0, 1], C 1 or 3.
        words: captions (N,).
        path: of the PNG.
        columns: images in a row.

    Returns: the path.

    Raises:
        ValueError: if there is nothing to draw, it is no image, or there are more or fewer words than images.
        RunError: if the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> folder = tempfile.mkdtemp()
        >>> tiles(torch.rand(3, 1, 8, 8), ["a", "b", "c"], f"{folder}/some.png", columns=2).name
        'some.png'
    """
    if not len(x) or not is_image_shape(tuple(x.shape[1:])):
        raise ValueError(f"inputs of shape {tuple(x.shape)} cannot be drawn: give some images (N, 1 or 3, H, W)")
    if len(words) != len(x):
        raise ValueError(f"{len(words)} captions for {len(x)} images: give one each")
    try:
        replace_atomically(Path(path), partial(_save, _drawn(x, words, columns)))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another place") from error
    return Path(path)


def _drawn(x: Tensor, words: Sequence[str], columns: int) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = -(-len(x) // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.02, wspace=0.0, hspace=0.0)
    figure = Figure(figsize=(columns * _INCHES, rows * (_INCHES + 0.32)), layout=layout)
    for number, (image, caption) in enumerate(zip(x, words, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, number)
        axes.imshow(as_array(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(caption, fontsize=5, pad=2, y=-0.32, parse_math=False)
        axes.set_axis_off()
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.05, metadata={"Software": None})
