"""The report on texts for machines and for text: CSV rows, Markdown tables, and a line for every outcome."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path

from robustlab.core.types import Text
from robustlab.evaluation.text.outcomes import RecordedText, text_outcomes_of
from robustlab.evaluation.text.record import RecipeResult, TextEvaluation
from robustlab.report.plain import both, csv_text, marked, md_table, md_text, next_part
from robustlab.report.text_marks import plain_marks
from robustlab.report.text_page import TextPage
from robustlab.report.words import duration, mark, number, p_value, percent, points, sample
from robustlab.statistics.intervals import Interval

COLUMNS = (
    *("model", "data", "n", "recipe", "correct", "accuracy", "low", "high", "level", "skipped", "successful", "failed"),
    *("success", "success_low", "success_high", "success_or_wrong", "words_changed", "requested", "sent"),
    *("turned", "apart", "either", "texts_scored", "victim_seconds", "service_seconds", "seconds", "mark"),
)


def text_csv(evaluations: Sequence[TextEvaluation]) -> str:
    """One line per model and recipe; the clean accuracy is the recipe "clean", all of them "all recipes"."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for e in evaluations:
        common = {"model": csv_text(e.model.name), "data": csv_text(e.data.name), "n": e.data.n}
        common |= {"mark": mark(e.findings)}
        writer.writerow(common | {"recipe": "clean", "seconds": e.clean.seconds} | _fraction(e.clean.accuracy))
        writer.writerows(common | _result(one) for one in e.results)
        writer.writerow(common | {"recipe": "all recipes"} | _fraction(e.worst))
    return buffer.getvalue()


def _fraction(one: Interval) -> dict[str, object]:
    return {"correct": one.count, "accuracy": one.value, "low": one.low, "high": one.high, "level": one.level}


def _result(one: RecipeResult) -> dict[str, object]:
    audit = {name: getattr(one.audit, name) for name in ("turned", "apart", "either")}
    return {
        **{"recipe": csv_text(one.recipe), **_fraction(one.accuracy)},
        **{"skipped": one.skipped, "successful": one.successful, "failed": one.failed},
        **{"success": one.success.value, "success_low": one.success.low, "success_high": one.success.high},
        **{"success_or_wrong": one.success_or_wrong.value, "words_changed": one.changed.mean_fraction},
        **{"requested": one.queries.requested.mean, "sent": one.queries.sent.mean},
        **{name: "" if found is None else found.value for name, found in audit.items()},
        **{"texts_scored": one.costs.texts, "victim_seconds": one.costs.victim_seconds},
        **{"service_seconds": one.costs.service_seconds, "seconds": one.costs.seconds},
    }


def write_text_rows(evaluations: Sequence[TextEvaluation], path: Path) -> None:
    """Writes a line per model, recipe and text; fields of a text are joined by a line break."""
    with path.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("model", *RecordedText._fields))
        for e in evaluations:
            if e.directory is not None:
                for one in text_outcomes_of(e.directory):
                    writer.writerow([csv_text(e.model.name), *map(_cell, one)])


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, tuple) and (not value or isinstance(value[0], tuple)):
        return csv_text(" ".join(f"{at}:{new}" for at, new in value))
    return csv_text(as_line(value)) if isinstance(value, str | tuple) else value


def as_line(text: Text) -> str:
    """A text as one cell; its fields one below the other."""
    return text if isinstance(text, str) else "\n".join(text)


def text_markdown(page: TextPage) -> str:
    """The page for a pull request or a terminal."""
    parts = [f"# {md_text(page.title)}", md_text(sample(page.first.data)), *map(md_text, page.caveats)]
    parts += [
        f"- **{md_text(f.title)}** ({f.severity}, `{f.code}`, {md_text(name)}) {md_text(f.advice)}"
        for kind in (*page.serious, *page.other)
        for name, f in kind.cases
    ]
    parts += ["## Robustness", _headline(page), "## Recipes", _recipes(page)]
    parts += ["## Meaning of the successes", _meaning(page)] if any(s.audited for s in page.subjects) else []
    parts += ["## Recipe against recipe", _pairs(page)] if any(s.evaluation.pairs for s in page.subjects) else []
    parts += ["## Model against model", _compared(page)] if page.comparisons else []
    parts += ["## Examples", *_cases(page)] if page.cases else []
    parts += [*next_part(page.steps), "## How to reproduce"]
    parts += ["\n".join(f"    {line}" for line in command.splitlines()) for command in page.commands]
    parts.append("\n".join(f"- {fact.name}: {md_text(' / '.join(fact.values))}" for fact in page.facts))
    return _safe("\n\n".join(parts) + "\n")


def _safe(text: str) -> str:
    """A text that can be encoded: lone halves of characters are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _headline(page: TextPage) -> str:
    rows = [
        [marked(s.name, s.evaluation.findings), both(s.evaluation.clean.accuracy), both(s.evaluation.worst)]
        for s in page.subjects
    ]
    return md_table(["Model", "Clean accuracy", "Accuracy under all recipes"], rows)


def _recipes(page: TextPage) -> str:
    rows = [
        [
            *(md_text(s.name), md_text(r.recipe), both(r.accuracy), both(r.success), both(r.success_or_wrong)),
            *(percent(r.changed.mean_fraction), number(r.queries.requested.mean), number(r.queries.sent.mean)),
            html.escape(duration(r.costs.seconds)),
        ]
        for s in page.subjects
        for r in s.evaluation.results
    ]
    head = ["Model", "Recipe", "Accuracy", "Success", "Success or wrong", "Words", "Requested", "Sent", "Time"]
    return md_table(head, rows)


def _meaning(page: TextPage) -> str:
    rows = [
        [md_text(s.name), md_text(r.recipe), *("" if one is None else both(one) for one in found)]
        for s in page.subjects
        for r in s.evaluation.results
        for found in [(r.audit.turned, r.audit.apart, r.audit.either)]
    ]
    return md_table(["Model", "Recipe", "Opinion turned", "Similarity below the bound", "Either"], rows)


def _pairs(page: TextPage) -> str:
    rows = [
        [
            *(md_text(s.name), f"{md_text(p.b)} over {md_text(p.a)}"),
            f"{points(p.difference)} [{points(p.low)}, {points(p.high)}]",
            html.escape(p_value(p.corrected)),
            md_text(", ".join(p.differs)),
        ]
        for s in page.subjects
        for p in s.evaluation.pairs
    ]
    return md_table(["Model", "Second over first", "Accuracy in points", "p, corrected", "Recipes differ in"], rows)


def _compared(page: TextPage) -> str:
    rows = [
        [
            *(f"{md_text(c.b)} over {md_text(c.a)}", md_text(c.measured)),
            f"{points(c.difference)} [{points(c.low)}, {points(c.high)}]",
            *(str(c.only_a), str(c.only_b), html.escape(p_value(c.corrected))),
        ]
        for c in page.comparisons
    ]
    head = ["Second over first", "Measured", "Accuracy in points", "Only first", "Only second", "p, corrected"]
    return md_table(head, rows)


def _cases(page: TextPage) -> list[str]:
    found = []
    for case in page.cases:
        name = f"{md_text(case.model)}, " if case.model else ""
        facts = md_text(", ".join((*case.facts, *case.warnings)))
        lines = [
            f"{name}{md_text(case.recipe)}, text {case.id}: {md_text(case.before)} to {md_text(case.after)} ({facts})"
        ]
        for one in case.fields:
            lines += [f"- {md_text(plain_marks(one.original))}", f"- {md_text(plain_marks(one.adversarial))}"]
        found.append("\n".join([lines[0], "", *lines[1:]]))
    return found
