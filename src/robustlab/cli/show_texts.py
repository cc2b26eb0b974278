"""Attacks on texts on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from robustlab.cli import show

if TYPE_CHECKING:
    from robustlab.evaluation import TextComparison, TextEvaluation
    from robustlab.text import TextOutcome


def text_table(e: TextEvaluation) -> None:
    """Prints accuracy and success by recipe, then what is known of the meaning, then the caveats."""
    from robustlab.report.words import mark, number, percent, sample

    rows = [
        [
            r.recipe,
            *(show.fraction(r.accuracy), show.fraction(r.success), show.fraction(r.success_or_wrong)),
            *(percent(r.changed.mean_fraction), number(r.queries.requested.mean)),
        ]
        for r in e.results
    ]
    if len(rows) > 1:
        rows.append(["all recipes", show.fraction(e.worst), "", "", "", ""])
    level = percent(e.clean.accuracy.level, 0)
    title = (
        f"{e.model.name}: {sample(e.data)} Clean accuracy {show.fraction(e.clean.accuracy)}. Success is of the texts "
        f"that were attacked; counted with those wrong before, of all. Brackets: exact {level} intervals."
    )
    show.table(["recipe", "accuracy", "success", "success or wrong", "words changed", "queries"], rows, title=title)
    _meaning(e)
    if why := mark(e.findings):
        show.paragraph(f"{e.model.name} is {why}", [])
    for caveat in e.caveats:
        show.paragraph(caveat, [])


def _meaning(e: TextEvaluation) -> None:
    found = {r.recipe: (r.audit.turned, r.audit.apart, r.audit.either) for r in e.results}
    if not any(one for audit in found.values() for one in audit):
        return
    rows = [
        [recipe, *("not measured" if one is None else show.fraction(one) for one in audit)]
        for recipe, audit in found.items()
    ]
    head = ["meaning of successes", "opinion turned", f"similarity below {e.meaning.bound:g}", "either"]
    show.table(head, rows)


def text_comparisons(found: Sequence[TextComparison]) -> None:
    """Prints paired comparisons, a table for each pair of victims, or one for all searches."""
    from robustlab.report.words import number, p_value, points

    def cells(one: TextComparison) -> list[str]:
        return [
            f"{points(one.difference)} [{points(one.low)}, {points(one.high)}]",
            *(str(one.only_b), str(one.only_a), p_value(one.corrected)),
            *("" if one.kind == "clean" else f"{number(value)}" for value in one.requested),
        ]

    head = ["points more", "only second right", "only first right", "p", "queries of first", "of second"]
    if found[0].kind == "searches":
        rows = [[f"{one.b} over {one.a}", *cells(one)] for one in found]
        show.table(["accuracy under search", *head], rows, title=f"Searches against {found[0].measured}")
        return
    rows = [[one.measured, *cells(one)] for one in found]
    show.table(["accuracy under", *head], rows, title=f"{found[0].b} over {found[0].a}, {found[0].n} texts")


def text_outcome(recipe: str, one: TextOutcome, labels: Sequence[str]) -> None:
    """Prints one attacked text with the changed words marked."""
    from robustlab.report.text_marks import compared, plain_marks
    from robustlab.report.words import percent

    def named(label: int) -> str:
        return labels[label] if label < len(labels) else str(label)

    words = f"{one.changed} of {one.words} words changed, {one.requested} queries"
    classes = f"{named(one.before)} to {named(one.prediction)} ({percent(one.confidence, 0)})"
    lines = []
    pairs = zip(*((t,) if isinstance(t, str) else t for t in (one.original, one.adversarial)), strict=True)
    for original, adversarial in pairs:
        first, second = compared(original, adversarial)
        lines += [plain_marks(first), plain_marks(second)] if original != adversarial else [plain_marks(first)]
    show.paragraph(f"{recipe}: {one.status}, {classes}, {words}", lines)
