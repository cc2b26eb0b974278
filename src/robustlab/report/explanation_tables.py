"""The report on explanations for machines and for text: CSV rows and Markdown tables."""

from __future__ import annotations

import csv
import html
import io

from robustlab.evaluation.explanations.record import Explanations
from robustlab.report.explanations import ExplanationPage
from robustlab.report.plain import both, csv_text, md_table, md_text, next_part
from robustlab.report.words import mark, p_value, real, sample, span

COLUMNS = (
    *("model", "data", "n", "method", "number", "mean", "low", "high", "level", "defined", "undefined"),
    *("better", "mark"),
)


def explanation_csv(result: Explanations) -> str:
    """One line per model, method and number."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    better = {info.name: info.better for info in result.numbers}
    common = {"data": csv_text(result.data.name), "n": result.data.n, "mark": mark(result.findings)}
    for one in result.results:
        mean = one.mean
        where = {"model": csv_text(result.models[one.model].name), "method": csv_text(one.method)}
        what = {"number": csv_text(one.number), "better": better.get(one.number, ""), "undefined": one.undefined}
        found = {"mean": mean.value, "low": mean.low, "high": mean.high, "level": mean.level, "defined": mean.n}
        writer.writerow({**common, **where, **what, **found})
    return buffer.getvalue()


def explanation_markdown(page: ExplanationPage) -> str:
    """The page without its pictures, for a pull request or a terminal."""
    parts = [f"# {md_text(page.title)}", md_text(sample(page.first.data))]
    parts += [f"- **{md_text(f.title)}** {md_text(f.advice)}" for kind in (*page.serious, *page.other)
              for _, f in kind.cases]  # fmt: skip
    parts += [f"- {md_text(line)}" for line in page.answer]
    accuracy = [f"{md_text(s.name)}: {both(s.accuracy)}" for s in page.subjects]
    parts.append(f"Accuracy on these images: {'; '.join(accuracy)}.")
    if page.verdicts:
        parts += ["## Checks", _verdicts(page)]
    if page.lines:
        parts += ["## Numbers", _numbers(page)]
    parts += [*next_part(page.steps), "## How to reproduce"]
    parts += ["\n".join(f"    {line}" for line in command.splitlines()) for command in page.commands]
    parts.append("\n".join(f"- {fact.name}: {md_text(' / '.join(fact.values))}" for fact in page.facts))
    return "\n\n".join(parts) + "\n"


def _verdicts(page: ExplanationPage) -> str:
    rows = [[md_text(one.method), *(md_text(words) for words, _ in one.words)] for one in page.verdicts]
    return md_table(["Maps of", *(md_text(s.name) for s in page.subjects)], rows)


def _numbers(page: ExplanationPage) -> str:
    paired = len(page.subjects) > 1
    rows = []
    for line in page.lines:
        cells = ["" if one is None else f"{real(one.mean.value)} {span(one.mean)}" for one in line.cells]
        d = line.difference
        more = ["", ""] if d is None else [
            f"{real(d.difference.value)} {span(d.difference)}", html.escape(p_value(d.corrected))
        ]  # fmt: skip
        rows.append([md_text(line.number), md_text(line.method or "model"), *cells, *(more if paired else [])])
    head = ["Number", "Maps of", *(md_text(s.name) for s in page.subjects)]
    return md_table([*head, *(["Difference", "p, corrected"] if paired else [])], rows)
