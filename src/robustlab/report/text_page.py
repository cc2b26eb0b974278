"""Content of the page on texts: recorded results arranged for reading, nothing computed anew."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from robustlab.core.types import Text
from robustlab.evaluation.text.compare import TextComparison
from robustlab.evaluation.text.given import text_from
from robustlab.evaluation.text.recipe_info import RecipeInfo
from robustlab.evaluation.text.record import TextEvaluation, TextItem
from robustlab.report.provenance import Fact, Findings, gathered, in_rows
from robustlab.report.text_marks import Piece, compared
from robustlab.report.text_steps import next_steps_on_texts
from robustlab.report.words import count, number, percent

_STATUS = {"successful": "fooled", "failed": "still right", "skipped": "skipped"}


@dataclass(frozen=True)
class Field:
    """One field of a text, before and after an attack."""

    original: tuple[Piece, ...]
    adversarial: tuple[Piece, ...]


@dataclass(frozen=True)
class Case:
    """One example under one recipe, side by side."""

    group: int
    """Number of its recipe on the page."""
    recipe: str
    model: str
    """Name of the model; "" where the page has only one."""
    id: int
    status: str
    label: str
    before: str
    after: str
    sure: str
    fooled: bool
    facts: tuple[str, ...]
    warnings: tuple[str, ...]
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class TextSubject:
    """One evaluated model as the page shows it."""

    series: int
    evaluation: TextEvaluation

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.evaluation.model.name

    @property
    def audited(self) -> bool:
        """True if the meaning was measured."""
        return any(one.audit.turned or one.audit.apart for one in self.evaluation.results)


@dataclass(frozen=True)
class TextPage:
    """Everything the template needs."""

    title: str
    subjects: tuple[TextSubject, ...]
    serious: tuple[Findings, ...]
    other: tuple[Findings, ...]
    comparisons: tuple[TextComparison, ...]
    recipes: tuple[RecipeInfo, ...]
    """Recipes of all evaluations by name, each once."""
    cases: tuple[Case, ...]
    facts: tuple[Fact, ...]
    commands: tuple[str, ...]
    steps: tuple[str, ...]
    same_data: bool

    @property
    def first(self) -> TextEvaluation:
        """First evaluation, read for the facts that all have in common."""
        return self.subjects[0].evaluation

    @property
    def caveats(self) -> tuple[str, ...]:
        """Limits of the numbers, one sentence each."""
        return tuple(dict.fromkeys(caveat for s in self.subjects for caveat in s.evaluation.caveats))


def text_page(
    evaluations: Sequence[TextEvaluation], comparisons: Sequence[TextComparison] = (), *, title: str | None = None
) -> TextPage:
    """Arranges evaluations of one or several classifiers of texts.

    Args:
        evaluations: at least one.
        comparisons: paired comparisons of these.
        title: of the page; None: the names of the models and the data.

    Raises: ValueError if there is nothing to show.
    """
    if not evaluations:
        raise ValueError("there is nothing to report: give at least one evaluation")
    findings, first = gathered(evaluations), evaluations[0]
    recipes = list(dict.fromkeys(info for e in evaluations for info in e.recipes))
    names = [*dict.fromkeys(info.name for info in recipes)]
    return TextPage(
        title=title or _title(evaluations),
        subjects=tuple(TextSubject(i, e) for i, e in enumerate(evaluations)),
        serious=tuple(f for f in findings if f.gravest.severity == "serious"),
        other=tuple(f for f in findings if f.gravest.severity != "serious"),
        comparisons=tuple(comparisons),
        recipes=tuple(recipes),
        cases=tuple(case for e in evaluations for case in _cases(e, names, alone=len(evaluations) == 1)),
        facts=tuple(in_rows([_facts(e) for e in evaluations])),
        commands=tuple(dict.fromkeys(e.run.command for e in evaluations)),
        steps=next_steps_on_texts(evaluations),
        same_data=all(e.data.sha256 == first.data.sha256 for e in evaluations),
    )


def _title(evaluations: Sequence[TextEvaluation]) -> str:
    data = " and ".join(dict.fromkeys(e.data.name for e in evaluations))
    who = evaluations[0].model.name if len(evaluations) == 1 else f"{len(evaluations)} classifiers"
    return f"Robustness of {who} to attacks on {data}"


def _cases(e: TextEvaluation, names: Sequence[str], *, alone: bool) -> Iterator[Case]:
    for item in e.gallery:
        fields = zip(_fields(text_from(item.original)), _fields(text_from(item.adversarial)), strict=True)
        yield Case(
            group=names.index(item.recipe),
            recipe=item.recipe,
            model="" if alone else e.model.name,
            id=item.id,
            status=_STATUS[item.status],
            label=_class(e, item.label),
            before=_class(e, item.before),
            after=_class(e, item.prediction),
            sure=percent(item.confidence, 0),
            fooled=item.status == "successful",
            facts=tuple(_case_facts(item)),
            warnings=tuple(_warnings(e, item)),
            fields=tuple(Field(*compared(*pair)) for pair in fields),
        )


def _fields(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text


def _case_facts(item: TextItem) -> Iterator[str]:
    yield f"{item.changed} of {item.words} words changed"
    yield f"{count(item.requested)} queries"
    if not math.isnan(item.similarity):
        yield f"similarity {item.similarity:.3f}"


def _warnings(e: TextEvaluation, item: TextItem) -> Iterator[str]:
    if item.turned:
        yield "opinion turned"
    if e.meaning.encoder and item.similarity < e.meaning.bound:
        yield f"below {number(e.meaning.bound, 2)}"


def _class(e: TextEvaluation, label: int) -> str:
    return e.data.classes[label] if 0 <= label < len(e.data.classes) else str(label)


def _facts(e: TextEvaluation) -> dict[str, str]:
    meaning = [one for one in (e.meaning.opinion, e.meaning.encoder) if one]
    return {
        "Run": e.run.id,
        "Made": e.run.created,
        "Seed": str(e.run.seed),
        "Batches": f"{e.run.batch_size}; {e.run.batch_plan}",
        "Queries": "any number" if e.queries is None else f"at most {e.queries} for each text",
        "Interruptions": str(e.run.sessions - 1),
        "Machine": f"{e.run.hardware}, {e.run.threads} thread{'s' if e.run.threads != 1 else ''}",
        "Versions": ", ".join(f"{name} {version}" for name, version in e.run.versions.items()),
        "Resources": ", ".join(f"{name} {version}" for name, version in e.resources.items()) or "none named",
        "Meaning measured by": ", ".join(meaning) or "not measured",
        "Victim": e.model.sha256,
        "Data": f"{e.data.name}{f', {e.data.split}' if e.data.split else ''}",
        "Data (SHA-256)": e.data.sha256,
    }
