"""Traces of the strongest attack, point by point, on the hardest and on the easiest example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from robustlab.attacks import TraceRow, trace
from robustlab.evaluation.plan import Entry, Phase, chosen
from robustlab.evaluation.queries import Reader, fooled_ids, fooled_in, robust_in
from robustlab.evaluation.record import TracePoint, TraceRecord
from robustlab.evaluation.stages import Part
from robustlab.evaluation.subject import Subject

ROBUST, FOOLED = 2, 8
"""Examples that are traced, of which one is kept; those still robust cost an attack to its end."""
POINTS = 200
"""Points of a record at most; of more, every second, third, ... and the last are kept."""
Which = Literal["hardest", "easiest"]


def traces(subject: Subject, entry: Entry, number: int, reader: Reader, *, seed: int) -> Iterator[TraceRecord]:
    """Traces the first stage of an attack at its largest eps, with the draws that it had.

    The hardest example is the one whose own class stays farthest ahead of the runner-up at the end, among those
    ``ROBUST`` that no stage fooled and that keep the highest probability of their class under this one. The easiest
    is the one that is fooled after the fewest points, and then by the largest margin, among ``FOOLED``
    drawn by their hash from those that this stage fooled. An attack without points, or a model with NaN, has none.

    Args:
        subject: model and examples.
        entry: the attack.
        number: its position in the plan.
        reader: of the outcomes.
        seed: of the evaluation.

    Yields: the hardest, then the easiest; neither where there is none.
    """
    eps = entry.eps[-1]
    first = entry.parts(eps, seed)[0]
    phase = Phase(number, eps, "run")
    robust = robust_in(reader, phase)
    robust = robust[~torch.isin(robust, fooled_ids(reader, number, eps, counted=False))][:ROBUST].sort().values
    fooled = chosen(fooled_in(reader, phase), FOOLED, "doctor", seed)
    held = [rows for rows in _traced(subject, first, robust) if not any(row.finished for row in rows)]
    if held:
        yield _record(subject, entry, first, "hardest", min(held, key=lambda rows: rows[-1].margin))
    found = [rows for rows in _traced(subject, first, fooled) if rows[-1].finished]
    if found:
        yield _record(subject, entry, first, "easiest", min(found, key=lambda rows: (len(rows), -rows[-1].margin)))


def _traced(subject: Subject, part: Part, ids: Tensor) -> list[tuple[TraceRow, ...]]:
    """The points of each example that has at least two."""
    if not ids.numel():
        return []
    batch = subject.load(ids)
    try:
        seen = trace(part.attack, subject.twin, batch.x, batch.y, seed=part.seed, ids=batch.ids)
    except ValueError:  # NaN, which the record counts
        return []
    by_example: dict[int, list[TraceRow]] = {}
    for row in seen.rows:
        by_example.setdefault(row.id, []).append(row)
    return [tuple(rows) for rows in by_example.values() if len(rows) > 1]


def _record(subject: Subject, entry: Entry, part: Part, which: Which, rows: Sequence[TraceRow]) -> TraceRecord:
    label = int(subject.load(torch.tensor([rows[0].id])).y)
    step = -(-len(rows) // POINTS)
    kept = [*rows[:-1:step], rows[-1]]
    points = tuple(TracePoint(r.point, r.score, r.margin, abs(r.size), r.gradient_norm) for r in kept)
    fooled_at = next((r.point for r in rows if r.finished), None)
    return TraceRecord(which, entry.name, part.name, entry.eps[-1], rows[0].id, label, fooled_at, len(rows), points)
