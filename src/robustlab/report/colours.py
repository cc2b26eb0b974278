"""Colours of all figures: eight that can be distinguished without seeing red and green."""

from __future__ import annotations

OKABE_ITO = (
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # bluish green
    "#D55E00",  # vermillion
    "#CC79A7",  # reddish purple
    "#56B4E9",  # sky blue
    "#000000",  # black
    "#F0E442",  # yellow
)
"""The palette of Okabe and Ito, in an order in which neighbours differ in brightness, too; yellow, which is faint on
white, comes last.

Source: Okabe and Ito, Color Universal Design, 2008.
"""


def figure_style() -> dict[str, str | float]:
    """The look of figures, for ``matplotlib.rcParams.update``.

    Lines take the colours of ``OKABE_ITO`` in turn, as C0 to C7. A figure ten inches wide has 1,000 pixels, and its
    smallest label ("small") is 12 of them high.

    Example:
        >>> figure_style()["figure.dpi"]
        100.0
    """
    colours = ", ".join(repr(colour) for colour in OKABE_ITO)
    return {
        "axes.prop_cycle": f"cycler('color', [{colours}])",
        "axes.titlesize": "medium",
        "figure.dpi": 100.0,
        "font.size": 10.5,
        "lines.linewidth": 1.8,
    }
