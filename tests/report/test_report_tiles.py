"""Tiles of pictures as one PNG."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from robustlab.core.errors import RunError
from robustlab.report import tiles


def test_every_image_is_drawn_with_its_words(tmp_path: Path) -> None:
    from PIL import Image

    x = torch.zeros(5, 3, 8, 8)
    x[4, 0] = 1.0
    heights = []
    for n in (4, 5):
        with Image.open(tiles(x[:n], ["a"] * n, tmp_path / "some.png", columns=2)) as found:
            heights.append(found.height)
            colours = {colour for _, colour in found.convert("RGB").getcolors(1 << 20) or []}
        assert ((255, 0, 0) in colours) == (n == 5)
    assert heights[1] > 1.3 * heights[0]


@pytest.mark.parametrize(
    ("x", "words", "message"),
    [
        (torch.zeros(0, 1, 8, 8), [], "cannot be drawn"),
        (torch.zeros(2, 5), ["a", "b"], r"inputs of shape \(2, 5\) cannot be drawn"),
        (torch.zeros(2, 1, 8, 8), ["a"], "1 captions for 2 images"),
    ],
)
def test_what_cannot_be_drawn_is_refused(x: Tensor, words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        tiles(x, words, tmp_path / "some.png")


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .* choose another place"):
        tiles(torch.zeros(1, 1, 8, 8), ["a"], tmp_path / "file" / "some.png")
