"""Style of figures: eight colours that can be distinguished, and legible labels."""

from __future__ import annotations

from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.font_manager import font_scalings

from robustlab.report import OKABE_ITO, figure_style

# Machado, Oliveira and Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009,
# severity 1.0, for linear RGB.
SIGHT = {
    "usual": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


@pytest.mark.parametrize("matrix", SIGHT.values(), ids=SIGHT)
def test_any_two_colours_can_be_distinguished(matrix: np.ndarray) -> None:
    rgb = np.array([to_rgb(colour) for colour in OKABE_ITO])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.2)
    assert len(seen) == 8
    assert min(float(np.abs(one - other).max()) for one, other in combinations(seen, 2)) > 0.12


def test_lines_take_the_colours_in_turn() -> None:
    with mpl.rc_context(figure_style()):  # type: ignore[arg-type]  # names of settings
        figure, axis = plt.subplots()
        lines = [axis.plot([0, 1])[0].get_color() for _ in range(8)]
        plt.close(figure)
    assert tuple(lines) == OKABE_ITO


def test_the_smallest_label_is_twelve_pixels_high_and_ten_inches_are_a_thousand() -> None:
    with mpl.rc_context(figure_style()):  # type: ignore[arg-type]  # names of settings
        pixels = mpl.rcParams["figure.dpi"]
        small = mpl.rcParams["font.size"] * font_scalings["small"] * pixels / 72
    assert 10 * pixels == 1000
    assert small >= 12
