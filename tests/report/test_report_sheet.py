"""The sheet of pictures as one PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustlab.core import RunError
from robustlab.report import Row, is_image_shape, sheet


def row(channels: int = 1) -> Row:
    x = torch.full((channels, 6, 6), 0.25)
    return Row(x, x + 0.125, "before $x_1$ <b>", "after")


def test_sheet_has_a_row_per_example_and_its_pictures(tmp_path: Path) -> None:
    one, two = (sheet([row()] * n, tmp_path / f"{n}.png") for n in (1, 2))
    with Image.open(one) as small, Image.open(two) as large:
        assert small.size[0] == large.size[0]
        assert large.size[1] == pytest.approx(2 * small.size[1], abs=2)
        shades = np.unique(np.asarray(small.convert("L")), return_counts=True)
    large_areas = set(shades[0][shades[1] > 2000].tolist())
    # Clean 0.25, the change 0.5 + 4 * 0.125 at full strength, and 0.375 beside it.
    assert large_areas == {64, 96, 255}


def test_sheet_draws_colour(tmp_path: Path) -> None:
    x = torch.zeros(3, 6, 6)
    x[0] = 1.0
    with Image.open(sheet([Row(x, x, "a", "b")], tmp_path / "red.png")) as drawn:
        pixels = np.asarray(drawn.convert("RGB")).reshape(-1, 3)
    assert (pixels == [255, 0, 0]).all(axis=1).sum() > 2000


def test_sheet_refuses_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        sheet([], tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"shape \[\(5,\)\] are no images"):
        sheet([Row(torch.zeros(5), torch.zeros(5), "a", "b")], tmp_path / "a.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*; choose another place"):
        sheet([row()], tmp_path / "file" / "a.png")


@pytest.mark.parametrize(
    ("shape", "drawable"), [((1, 8, 8), True), ((3, 8, 8), True), ((8, 8), True), ((2, 8, 8), False), ((64,), False)]
)
def test_what_is_an_image(shape: tuple[int, ...], drawable: bool) -> None:
    assert is_image_shape(shape) is drawable
