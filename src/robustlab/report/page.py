"""Content of the page on attacks: recorded results arranged for reading, nothing computed anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robustlab.evaluation.compare import Comparison
from robustlab.evaluation.record import (
    WORST,
    AttackResult,
    ClassResult,
    Curve,
    Evaluation,
    Recheck,
    WorstCase,
)
from robustlab.report.chart import NARROW, SMALL, WIDE, Chart, Charts, Frame, attacked, chart
from robustlab.report.confusion import BeforeAfter, before_after
from robustlab.report.next_steps import next_steps
from robustlab.report.pictures import Triptych, gallery
from robustlab.report.provenance import Fact, Findings, facts_of, gathered, in_rows
from robustlab.report.sections import Shown, sections
from robustlab.report.stages import StageTable, stage_tables
from robustlab.report.trace_panels import TracePanels, trace_panels
from robustlab.report.words import budget
from robustlab.statistics.intervals import Interval

GALLERY = {True: 6, False: 3}
"""Pictures per model: of one alone, of each of several."""


@dataclass(frozen=True)
class Subject:
    """One evaluated model as the page shows it."""

    series: int
    evaluation: Evaluation
    worst: WorstCase | None
    """At the headline's eps."""
    strongest: AttackResult | None
    """The attack that leaves the fewest correct at the headline's eps."""
    confusion: BeforeAfter | None
    gallery: tuple[Triptych, ...]
    stages: tuple[StageTable, ...]
    traces: tuple[TracePanels, ...]

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.evaluation.model.name

    def at_headline(self) -> list[AttackResult]:
        """Its results at the headline's eps."""
        return [r for r in self.evaluation.results if self.worst and r.eps == self.worst.eps]


@dataclass(frozen=True)
class CurveRow:
    """One attack at one eps: a robust accuracy per model, None where it was not measured."""

    attack: str
    eps: float
    fractions: tuple[Interval | None, ...]
    reused: tuple[int, ...]
    recheck: tuple[Recheck | None, ...]


@dataclass(frozen=True)
class ClassRow:
    """One class: a result per model, None where the model has no such class."""

    name: str
    n: int
    cells: tuple[ClassResult | None, ...]


@dataclass(frozen=True)
class Page:
    """Everything the template needs."""

    title: str
    subjects: tuple[Subject, ...]
    eps: float | None
    serious: tuple[Findings, ...]
    other: tuple[Findings, ...]
    charts: Charts | None
    details: tuple[Chart, ...]
    curve_rows: tuple[CurveRow, ...]
    comparisons: tuple[Comparison, ...]
    class_rows: tuple[ClassRow, ...]
    facts: tuple[Fact, ...]
    commands: tuple[str, ...]
    steps: tuple[str, ...]
    """Next steps for the reader."""
    same_data: bool
    sections: tuple[Shown, ...]
    """Sections added by plug-ins."""

    @property
    def first(self) -> Evaluation:
        """First evaluation, read for the facts that all have in common."""
        return self.subjects[0].evaluation

    @property
    def reused(self) -> bool:
        """True if a point counts examples that were fooled at a smaller eps."""
        return any(any(row.reused) for row in self.curve_rows)

    @property
    def rechecked(self) -> Recheck:
        """All rechecks of all attacks together."""
        done = [r for row in self.curve_rows if row.attack != WORST for r in row.recheck if r]
        return Recheck(sum(r.n for r in done), sum(r.disagreements for r in done))

    @property
    def caveats(self) -> tuple[str, ...]:
        """Limits of the numbers, one sentence each."""
        return tuple(dict.fromkeys(caveat for s in self.subjects for caveat in s.evaluation.caveats))

    @property
    def targeted(self) -> bool:
        """True if any attack had targets."""
        return any(a.targeted for s in self.subjects for a in s.evaluation.attacks)


def page(
    evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison], *, eps: float | None, title: str | None
) -> Page:
    """Arranges evaluations of one or several models.

    Args:
        evaluations: at least one; all of the same norm and bounds.
        comparisons: paired comparisons of these models.
        eps: of the headline; None: the largest that all of them have.
        title: of the page; None: says what was evaluated.

    Raises: ValueError if there is nothing to show, or if it cannot stand on the same axes.
    """
    _check(evaluations)
    headline = _headline(evaluations, eps)
    pictures = GALLERY[len(evaluations) == 1]
    subjects = tuple(_subject(i, e, headline, pictures) for i, e in enumerate(evaluations))
    findings = gathered(evaluations)
    names = _curve_names(evaluations)
    return Page(
        title=title or _title(evaluations),
        subjects=subjects,
        eps=headline,
        serious=tuple(f for f in findings if f.gravest.severity == "serious"),
        other=tuple(f for f in findings if f.gravest.severity != "serious"),
        charts=_main_chart(subjects, names[-1], headline or 0.0) if names else None,
        details=tuple(
            _chart(subjects, name, SMALL, headline or 0.0, f"curve-{i}") for i, name in enumerate(names[:-1])
        ),
        curve_rows=tuple(row for name in reversed(names) for row in _curve_rows(evaluations, name)),
        comparisons=tuple(_shown(comparisons, headline)),
        class_rows=tuple(_class_rows(subjects)),
        facts=tuple(in_rows([_facts_of(e) for e in evaluations])),
        commands=tuple(dict.fromkeys(e.run.command for e in evaluations)),
        steps=next_steps(evaluations),
        same_data=len({e.data.sha256 for e in evaluations}) == 1,
        sections=sections(evaluations),
    )


def _check(evaluations: Sequence[Evaluation]) -> None:
    if not evaluations:
        raise ValueError("there is nothing to report: give at least one evaluation")
    threats = sorted({f"{e.threat.norm} within {e.threat.bounds}" for e in evaluations})
    if len(threats) > 1:
        raise ValueError(
            f"these evaluations differ in their threat ({' and '.join(threats)}): write one report for each"
        )


def _headline(evaluations: Sequence[Evaluation], eps: float | None) -> float | None:
    common = sorted(set.intersection(*({w.eps for w in e.worst} for e in evaluations)))
    if eps is None:
        return common[-1] if common else None
    if eps not in common:
        there = ", ".join(map(budget, common))
        raise ValueError(f"eps {budget(eps)} for the headline was not measured for every model; there are {there}")
    return eps


def _shown(comparisons: Sequence[Comparison], eps: float | None) -> list[Comparison]:
    """Comparisons per pair of models: clean, and at the headline's eps the worst case or, without one, each attack."""
    at_eps = [c for c in comparisons if c.eps is not None and c.eps == eps]
    judged = {(c.a, c.b) for c in at_eps if c.attack == WORST}
    kept = [c for c in at_eps if c.attack == WORST or (c.a, c.b) not in judged]
    return [c for c in comparisons if c.eps is None or c in kept]


def _subject(series: int, evaluation: Evaluation, eps: float | None, pictures: int) -> Subject:
    worst = next((w for w in evaluation.worst if w.eps == eps), None)
    results = [r for r in evaluation.results if r.eps == eps]
    targeted = {a.name for a in evaluation.attacks if a.targeted}
    strongest = min(results, key=lambda r: (r.attack in targeted, r.robust.value), default=None)
    confusion = before_after(evaluation, strongest) if strongest else None
    shown = gallery(evaluation, pictures, eps)
    stages = stage_tables(evaluation, eps)
    return Subject(series, evaluation, worst, strongest, confusion, shown, stages, trace_panels(evaluation))


def _title(evaluations: Sequence[Evaluation]) -> str:
    data = " and ".join(dict.fromkeys(e.data.name for e in evaluations))
    who = evaluations[0].model.name if len(evaluations) == 1 else f"{len(evaluations)} models"
    return f"Robustness of {who} on {data}"


def _curve_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Curves in order of first appearance; the worst case, which is the main one, last."""
    names = list(dict.fromkeys(c.attack for e in evaluations for c in e.curves))
    return [n for n in names if n != WORST] + [n for n in names if n == WORST]


def _curve(evaluation: Evaluation, name: str) -> Curve | None:
    return next((c for c in evaluation.curves if c.attack == name), None)


def _main_chart(subjects: Sequence[Subject], name: str, eps: float) -> Charts:
    wide, narrow = (_chart(subjects, name, frame, eps, f"curve-{frame.width}") for frame in (WIDE, NARROW))
    return Charts(name, wide, narrow)


def _chart(subjects: Sequence[Subject], name: str, frame: Frame, eps: float, id: str) -> Chart:
    curves = [(s.name, _curve(s.evaluation, name)) for s in subjects]
    norm = subjects[0].evaluation.threat.norm
    return chart(curves, frame, id=id, title=name, axis=attacked(norm), headline=eps)


def _curve_rows(evaluations: Sequence[Evaluation], name: str) -> list[CurveRow]:
    curves = [{p.eps: p for p in curve.points} if (curve := _curve(e, name)) else {} for e in evaluations]
    rows = []
    for eps in sorted({eps for points in curves for eps in points}):
        here = [points.get(eps) for points in curves]
        rows.append(
            CurveRow(
                attack=name,
                eps=eps,
                fractions=tuple(p.robust if p else None for p in here),
                reused=tuple(p.reused if p else 0 for p in here),
                recheck=tuple(p.recheck if p else None for p in here),
            )
        )
    return rows


def _class_rows(subjects: Sequence[Subject]) -> list[ClassRow]:
    classes = [{c.label: c for c in (s.worst.per_class if s.worst else s.evaluation.clean.per_class)} for s in subjects]
    some = {label: c for of_model in reversed(classes) for label, c in of_model.items()}
    return [ClassRow(c.name, c.n, tuple(one.get(label) for one in classes)) for label, c in sorted(some.items())]


def _facts_of(e: Evaluation) -> dict[str, str]:
    facts = facts_of(e.model, e.data, e.run)
    return {
        **facts,
        **{f"Attack {a.name}": a.repr for a in e.attacks},
        "Eps": ", ".join(budget(w.eps) for w in e.worst),
    }
