"""Content of the page on corruptions: recorded results arranged for reading, nothing computed anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robustlab.evaluation.corruptions.compare import CorruptionComparison, same_images
from robustlab.evaluation.corruptions.record import CorruptedClass, CorruptionEvaluation
from robustlab.evaluation.record import Evaluation
from robustlab.report.cards import Card, cards
from robustlab.report.chart import (
    NARROW,
    SEVERITY,
    SEVERITY_ALONE,
    TINY,
    WIDE,
    Chart,
    Charts,
    Frame,
    Point,
    lines,
)
from robustlab.report.heat import Heat, difference, heat, spoken
from robustlab.report.next_steps import next_steps_under_corruptions
from robustlab.report.overview import OverviewRow, overview
from robustlab.report.provenance import Fact, Findings, facts_of, gathered, in_rows

MOST_CLASSES = 20


@dataclass(frozen=True)
class ClassLine:
    """One class: a result per model, None where the model has none."""

    name: str
    n: int
    cells: tuple[CorruptedClass | None, ...]


@dataclass(frozen=True)
class CorruptionSubject:
    """One evaluated model as the page shows it."""

    series: int
    evaluation: CorruptionEvaluation
    heat: Heat

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.evaluation.model.name


@dataclass(frozen=True)
class CorruptionPage:
    """Everything the template needs."""

    title: str
    subjects: tuple[CorruptionSubject, ...]
    serious: tuple[Findings, ...]
    other: tuple[Findings, ...]
    charts: Charts
    details: tuple[Chart, ...]
    overview: tuple[OverviewRow, ...]
    other_examples: bool
    """True if an attack was measured on other examples than the corruptions."""
    comparisons: tuple[CorruptionComparison, ...]
    differences: tuple[Heat, ...]
    classes: tuple[ClassLine, ...]
    classes_left_out: int
    cards: tuple[Card, ...]
    shown: int
    """Severity of the pictures."""
    facts: tuple[Fact, ...]
    commands: tuple[str, ...]
    steps: tuple[str, ...]
    """Next steps for the reader."""
    same_data: bool

    @property
    def first(self) -> CorruptionEvaluation:
        """First evaluation, read for the facts that all have in common."""
        return self.subjects[0].evaluation

    @property
    def caveats(self) -> tuple[str, ...]:
        """Limits of the numbers, one sentence each."""
        return tuple(dict.fromkeys(caveat for s in self.subjects for caveat in s.evaluation.caveats))

    @property
    def marked(self) -> bool:
        """True if any corruption is not comparable."""
        return any(info.not_comparable for s in self.subjects for info in s.evaluation.corruptions)

    @property
    def normalised(self) -> tuple[str, ...]:
        """Baselines by which corruption errors are divided."""
        return tuple(dict.fromkeys(s.evaluation.normalised_by for s in self.subjects if s.evaluation.normalised_by))


def corruption_page(
    evaluations: Sequence[CorruptionEvaluation],
    comparisons: Sequence[CorruptionComparison],
    *,
    attacked: Sequence[Evaluation],
    title: str | None,
) -> CorruptionPage:
    """Arranges evaluations of one or several models.

    Args:
        evaluations: at least one.
        comparisons: paired comparisons of these models.
        attacked: evaluations of the same models under attack, for the overview; in any order.
        title: of the page; None: the names of the models and the data.

    Raises: ValueError if there is nothing to show, or an attack was on none of the models.
    """
    if not evaluations:
        raise ValueError("there is nothing to report: give at least one evaluation")
    findings = gathered(evaluations)
    classes = _classes(evaluations)
    first = evaluations[0]
    return CorruptionPage(
        title=title or _title(evaluations),
        subjects=tuple(CorruptionSubject(i, e, heat(e)) for i, e in enumerate(evaluations)),
        serious=tuple(f for f in findings if f.gravest.severity == "serious"),
        other=tuple(f for f in findings if f.gravest.severity != "serious"),
        charts=Charts("mean", _mean_chart(evaluations, WIDE), _mean_chart(evaluations, NARROW)),
        details=tuple(_details(evaluations)),
        overview=tuple(overview(evaluations, attacked)),
        other_examples=any(a.data.sha256 != first.data.sha256 for a in attacked),
        comparisons=tuple(comparisons),
        differences=tuple(difference(c, first.corruptions) for c in comparisons),
        classes=tuple(classes[:MOST_CLASSES]),
        classes_left_out=max(0, len(classes) - MOST_CLASSES),
        cards=tuple(cards(evaluations)),
        shown=max((item.severity for item in first.gallery), default=0),
        facts=tuple(in_rows([_facts(e) for e in evaluations])),
        commands=tuple(dict.fromkeys([*(e.run.command for e in evaluations), *(e.run.command for e in attacked)])),
        steps=next_steps_under_corruptions(evaluations, attacked=bool(attacked)),
        same_data=all(same_images(first, e) for e in evaluations),
    )


def _title(evaluations: Sequence[CorruptionEvaluation]) -> str:
    data = " and ".join(dict.fromkeys(e.data.name for e in evaluations))
    who = evaluations[0].model.name if len(evaluations) == 1 else f"{len(evaluations)} models"
    return f"Robustness of {who} to corruptions of {data}"


def _mean_chart(evaluations: Sequence[CorruptionEvaluation], frame: Frame) -> Chart:
    series = [(e.model.name, [*_clean(e), *(Point(s.severity, s.accuracy) for s in e.severities)]) for e in evaluations]
    return lines(series, frame, id=f"mean-{frame.width}", title="mean over corruptions", axis=SEVERITY)


def _clean(e: CorruptionEvaluation) -> list[Point]:
    return [] if e.clean is None else [Point(0, e.clean.accuracy)]


def _details(evaluations: Sequence[CorruptionEvaluation]) -> list[Chart]:
    names = dict.fromkeys(info.name for e in evaluations for info in e.corruptions)
    return [
        lines(
            [(e.model.name, _points(e, name)) for e in evaluations],
            TINY,
            id=f"curve-{i}",
            title=spoken(name),
            axis=SEVERITY_ALONE,
        )
        for i, name in enumerate(names)
    ]


def _points(e: CorruptionEvaluation, corruption: str) -> list[Point]:
    points = [Point(cell.severity, cell.accuracy) for cell in e.cells if cell.corruption == corruption]
    return [*_clean(e), *points] if points else []


def _classes(evaluations: Sequence[CorruptionEvaluation]) -> list[ClassLine]:
    """Classes in order of accuracy under corruption, the worst of the first model first."""
    classes = [{one.label: one for one in e.per_class} for e in evaluations]
    some = {label: one for of_model in reversed(classes) for label, one in of_model.items()}
    ordered = sorted(some.values(), key=lambda one: (one.corrupted, one.label))
    return [ClassLine(one.name, one.n, tuple(of_model.get(one.label) for of_model in classes)) for one in ordered]


def _facts(e: CorruptionEvaluation) -> dict[str, str]:
    own = {
        "Corruptions": ", ".join(info.name for info in e.corruptions),
        "Variant": e.variant,
        "Severities": ", ".join(map(str, e.errors.severities)),
        "Divided by": e.normalised_by or "nothing: mean errors",
    }
    return facts_of(e.model, e.data, e.run) | own
