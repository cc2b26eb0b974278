"""Traces of an attack as small drawings: recorded points to places, nothing computed anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from robustlab.evaluation.record import Evaluation, TracePoint, TraceRecord
from robustlab.report.confusion import class_name
from robustlab.report.words import budget, count, number

WIDTH, HEIGHT = 220, 74
_EDGE = 5
_ROWS = 11


@dataclass(frozen=True)
class Panel:
    """One quantity over the points."""

    name: str
    path: str
    dots: tuple[tuple[float, float], ...]
    """A dot per point where there are few, else one at the end of the line."""
    top: str
    bottom: str
    """Values at the upper and the lower end of the vertical axis."""
    mark: float | None
    """Height of the dashed line: the margin at which the example is fooled, or the budget."""
    mark_name: str


@dataclass(frozen=True)
class TracePanels:
    """Drawings of the trace of one example."""

    title: str
    words: str
    panels: tuple[Panel, ...]
    last: int
    """Number of its last point."""
    rows: tuple[TracePoint, ...]
    """Some points, first and last among them."""


def trace_panels(evaluation: Evaluation) -> tuple[TracePanels, ...]:
    """The recorded traces of an evaluation."""
    return tuple(_drawn(evaluation, record) for record in evaluation.traces)


def _drawn(evaluation: Evaluation, record: TraceRecord) -> TracePanels:
    points, label = record.points, class_name(evaluation, record.label)
    where = f"{record.stage}, eps {budget(record.eps)}"
    margin = number(abs(points[-1].margin))
    if record.fooled_at is None:
        end = f"Still robust after {count(record.points_seen)} points, with a margin of {margin} logits."
    else:
        after = "at the start" if record.fooled_at == 0 else f"after {count(record.fooled_at)} steps"
        after = after.replace("after 1 steps", "after one step")
        end = f"Fooled {after}, with a negative margin of {margin} logits."
    return TracePanels(
        title=f"The {record.which} example",
        words=f"Number {record.id}, {label}, under {where}. {end}",
        panels=tuple(_panels(record)),
        last=points[-1].point,
        rows=_some(points),
    )


def _some(points: Sequence[TracePoint]) -> tuple[TracePoint, ...]:
    """A few points at equal distances, the first and the last among them."""
    places = min(_ROWS, len(points))
    kept = {round(i * (len(points) - 1) / max(places - 1, 1)) for i in range(places)}
    return tuple(points[i] for i in sorted(kept))


class _Quantity(NamedTuple):
    """Values of one panel."""

    name: str
    values: Sequence[float]
    mark: float | None = None
    mark_name: str = ""
    from_zero: bool = False


def _panels(record: TraceRecord) -> list[Panel]:
    quantities = (
        _Quantity("loss that is maximised", [p.score for p in record.points]),
        _Quantity("negative margin, logits", [p.margin for p in record.points], 0.0, "fooled"),
        _Quantity("size of the perturbation", [p.size for p in record.points], record.eps, "eps", from_zero=True),
        _Quantity("gradient norm", [p.gradient_norm for p in record.points], from_zero=True),
    )
    numbers = [p.point for p in record.points]
    return [_panel(q, numbers) for q in quantities if any(map(math.isfinite, q.values))]


def _panel(q: _Quantity, numbers: Sequence[int]) -> Panel:
    known = [(n, v) for n, v in zip(numbers, q.values, strict=True) if math.isfinite(v)]
    shown = [*(v for _, v in known), *([] if q.mark is None else [q.mark]), *([0.0] if q.from_zero else [])]
    low, high = min(shown), max(shown)
    span, last = (high - low) or 1.0, max(numbers) or 1

    def y(value: float) -> float:
        return round(_EDGE + (1 - (value - low) / span) * (HEIGHT - 2 * _EDGE), 2)

    places = tuple((round(_EDGE + n / last * (WIDTH - 2 * _EDGE), 2), y(v)) for n, v in known)
    return Panel(
        name=q.name,
        path=" ".join(f"{px},{py}" for px, py in places),
        dots=places if len(places) <= _ROWS else (places[-1],),
        top=number(high),
        bottom=number(low),
        mark=None if q.mark is None else y(q.mark),
        mark_name=q.mark_name,
    )
