"""Geometry of the security curve: recorded points to places on a drawing, nothing computed anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from robustlab.evaluation.record import Curve
from robustlab.report.words import Fraction, budget, interval, percent

Scale: TypeAlias = "tuple[Frame, float, str]"
"""The drawing, the largest value of the horizontal axis, and the unit before a value."""
MARKS = ("circle", "square", "diamond", "triangle", "cross")
"""One per series, so that no reading depends on colour alone."""


def mark_of(series: int) -> str:
    """The shape of a series; when colours come round again, shapes are one further."""
    return MARKS[(series + series // len(MARKS)) % len(MARKS)]


@dataclass(frozen=True)
class Frame:
    """A drawing of ``width`` x ``height`` units with room for labels around the plot."""

    width: int
    height: int
    left: int = 50
    right: int = 16
    top: int = 12
    bottom: int = 44

    def x(self, fraction: float) -> float:
        """Place of a fraction 0..1 along the horizontal axis."""
        return round(self.left + fraction * (self.width - self.left - self.right), 2)

    def y(self, fraction: float) -> float:
        """Place of an accuracy 0..1 along the vertical axis, 1 on top."""
        return round(self.top + (1 - fraction) * (self.height - self.top - self.bottom), 2)


WIDE = Frame(760, 340)
NARROW = Frame(358, 300, left=46, right=10)
SMALL = Frame(358, 230, left=46, right=10, bottom=40)
TINY = Frame(220, 150, left=42, right=8, top=8, bottom=24)


@dataclass(frozen=True)
class Mark:
    """One measured point with its tooltip."""

    x: float
    y: float
    low: float
    high: float
    hollow: bool
    """Some of its examples were counted as fooled because they were at a smaller eps."""
    text: str


@dataclass(frozen=True)
class Line:
    """One model's curve: a line, its interval band and its marks."""

    series: int
    name: str
    path: str
    band: str
    marks: tuple[Mark, ...]

    @property
    def shape(self) -> str:
        """Shape of its marks."""
        return mark_of(self.series)


@dataclass(frozen=True)
class Tick:
    """A place on an axis and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Everything a drawing of curves needs."""

    frame: Frame
    id: str
    title: str
    """Name for screen readers."""
    name: str
    description: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    headline: float | None
    """Place of the eps of the headline."""


@dataclass(frozen=True)
class Charts:
    """One drawing of curves in the sizes that a screen may need."""

    name: str
    wide: Chart
    narrow: Chart


@dataclass(frozen=True)
class Axis:
    """Quantity on the horizontal axis."""

    label: str
    """Beneath it."""
    unit: str
    """Before a value, as in "eps 0.1"."""
    heading: str
    """First words of a drawing's name for screen readers, before its title."""


SEVERITY = Axis("Severity of the corruption; 0: clean", "severity", "Accuracy over severity")
SEVERITY_ALONE = Axis("", "severity", "Accuracy over severity")
"""Without a label, for drawings with no room for it."""


def attacked(norm: str) -> Axis:
    """The budget of an attack."""
    return Axis(f"Size of the perturbation, eps ({norm})", "eps", "Robust accuracy over eps")


@dataclass(frozen=True)
class Point:
    """One measured fraction."""

    at: float
    """Along the horizontal axis."""
    fraction: Fraction
    reused: int = 0
    """Number of its examples counted as fooled because they were fooled at a smaller eps."""


def chart(
    curves: Sequence[tuple[str, Curve | None]],
    frame: Frame,
    *,
    id: str,
    title: str,
    axis: Axis,
    headline: float | None,
) -> Chart:
    """Places the security curves of several models on the same axes.

    Args:
        curves: name and curve of each model; None where a model has no such curve (its colour is kept for it).
        frame: the size of the drawing.
        id: unique in the page.
        title: name of the drawing for screen readers.
        axis: quantity on the horizontal axis.
        headline: eps of the headline; None: nothing is marked.
    """
    points = [(name, [Point(p.eps, p.robust, p.reused) for p in c.points] if c else []) for name, c in curves]
    return lines(points, frame, id=id, title=title, axis=axis, headline=headline)


def lines(
    series: Sequence[tuple[str, Sequence[Point]]],
    frame: Frame,
    *,
    id: str,
    title: str,
    axis: Axis,
    headline: float | None = None,
) -> Chart:
    """Places measured points of several models on the same axes.

    Args:
        series: name and points of each model; of none, its colour is kept for it.
        frame: the size of the drawing.
        id: unique in the page.
        title: name of the drawing for screen readers.
        axis: quantity on the horizontal axis.
        headline: the place that is marked; None: nothing is.
    """
    drawn = [(i, name, points) for i, (name, points) in enumerate(series) if points]
    places = sorted({p.at for _, _, points in drawn for p in points})
    top = max(places, default=0.0) or 1.0
    return Chart(
        frame=frame,
        id=id,
        title=f"{axis.heading}, {title}",
        name=title,
        description=" ".join(_sentence(name, points) for _, name, points in drawn),
        x_label=axis.label,
        x_ticks=tuple(Tick(frame.x(e / top), budget(e)) for e in _spaced(places, top, frame)),
        y_ticks=tuple(Tick(frame.y(s), percent(s, 0)) for s in (0.0, 0.25, 0.5, 0.75, 1.0)),
        lines=tuple(_line(i, name, points, (frame, top, axis.unit)) for i, name, points in drawn),
        headline=frame.x(headline / top) if headline is not None and headline in places else None,
    )


def _sentence(name: str, points: Sequence[Point]) -> str:
    values = ", ".join(f"{percent(p.fraction.value)} at {budget(p.at)}" for p in points)
    return f"{name}: {values}."


def _spaced(all_eps: Sequence[float], top: float, frame: Frame) -> list[float]:
    """The eps whose labels do not overlap; the last one always does, then those from the left."""
    kept: list[float] = []
    for eps in all_eps:
        label = 7.0 * max(len(budget(eps)), 2) + 6
        clear = not kept or frame.x(eps / top) - frame.x(kept[-1] / top) >= label
        if clear and (eps == top or frame.x(1) - frame.x(eps / top) >= label):
            kept.append(eps)
    return kept


def _line(series: int, name: str, points: Sequence[Point], scale: Scale) -> Line:
    measured = [p for p in points if not math.isnan(p.fraction.value)]
    marks = tuple(_mark(name, p, scale) for p in measured)
    upper = [f"{m.x},{m.high}" for m in marks]
    lower = [f"{m.x},{m.low}" for m in reversed(marks)]
    return Line(series, name, " ".join(f"{m.x},{m.y}" for m in marks), " ".join([*upper, *lower]), marks)


def _mark(name: str, point: Point, scale: Scale) -> Mark:
    frame, top, unit = scale
    fraction = point.fraction
    text = f"{name}, {unit} {budget(point.at)}: {percent(fraction.value)} {interval(fraction)}, n = {fraction.n}"
    return Mark(
        x=frame.x(point.at / top),
        y=frame.y(fraction.value),
        low=frame.y(fraction.low),
        high=frame.y(fraction.high),
        hollow=point.reused > 0,
        text=f"{text}; {point.reused} fooled already at a smaller eps" if point.reused else text,
    )
