"""Curves of model randomisation: likeness of maps to those of the trained network, layer after layer drawn anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from robustlab.evaluation.explanations.record import Explanations

WIDTH, HEIGHT = 420, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 10, 24
CODE, VALUE = "randomisation-ignored", "signed"
"""Check and number that are drawn."""


@dataclass(frozen=True)
class MapLine:
    """Curve of one method."""

    series: int
    name: str
    path: str
    dots: tuple[tuple[float, float], ...]
    words: str
    """Values for those who do not see the curve."""


@dataclass(frozen=True)
class MapChart:
    """Curves of one model, all methods."""

    model: str
    lines: tuple[MapLine, ...]
    ticks: tuple[tuple[float, str], ...]
    """Heights and labels of the vertical axis."""
    points: tuple[str, ...]
    """Layers, in the order in which they were drawn anew."""


def map_charts(result: Explanations) -> tuple[MapChart, ...]:
    """A drawing for each model whose maps were checked by randomisation."""
    return tuple(chart for number in range(len(result.models)) if (chart := _chart(result, number)))


def _chart(result: Explanations, model: int) -> MapChart | None:
    names = [info.name for info in result.methods]
    curves = {one.method: one.curves[CODE] for one in result.checked if one.model == model and CODE in one.curves}
    if not curves:
        return None
    lines = [_line(names.index(name), name, curve.values.get(VALUE, ())) for name, curve in curves.items()]
    ticks = tuple((_y(value), f"{value:g}") for value in (1.0, 0.5, 0.0, -0.5))
    return MapChart(result.models[model].name, tuple(lines), ticks, next(iter(curves.values())).points)


def _line(series: int, name: str, values: Sequence[float]) -> MapLine:
    """Curve from 1, at the trained network, through the values."""
    every = [1.0, *values]
    width = WIDTH - _LEFT - _RIGHT
    places = [
        (round(_LEFT + i / max(1, len(every) - 1) * width, 1), _y(value))
        for i, value in enumerate(every)
        if math.isfinite(value)
    ]
    end = f"{every[-1]:.2f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(every[-1]) else "undefined"
    path = " ".join(f"{x},{y}" for x, y in places)
    return MapLine(series, name, path, tuple(places), f"{name}: {end} with all layers drawn anew")


def _y(value: float) -> float:
    low, high = -0.6, 1.0
    return round(_TOP + (high - max(low, value)) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)
