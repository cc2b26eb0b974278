"""The report on corruptions for machines and for text: CSV rows and Markdown tables."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence

from robustlab.evaluation.corruptions.record import CellResult, CorruptionEvaluation
from robustlab.evaluation.record import CleanResult
from robustlab.report.corruptions import CorruptionPage
from robustlab.report.heat import Heat, spoken
from robustlab.report.plain import both, csv_text, md_table, md_text, next_part
from robustlab.report.words import mark, p_value, percent, points, sample

COLUMNS = (
    *("model", "data", "n", "variant", "corruption", "family", "severity", "correct", "accuracy", "low", "high"),
    *("level", "mean_confidence", "nonfinite", "seconds", "mark"),
)


def corruption_csv(evaluations: Sequence[CorruptionEvaluation]) -> str:
    """One line per model, corruption and severity; clean images are the corruption "clean" at severity 0."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for e in evaluations:
        families = {info.name: info.family for info in e.corruptions}
        common = {"model": csv_text(e.model.name), "data": csv_text(e.data.name), "n": e.data.n, "variant": e.variant}
        common |= {"mark": mark(e.findings)}
        rows: list[tuple[str, int, CleanResult | CellResult]] = [("clean", 0, e.clean)] if e.clean else []
        rows += [(cell.corruption, cell.severity, cell) for cell in e.cells]
        for name, severity, one in rows:
            accuracy = one.accuracy
            counts = {"correct": accuracy.count, "accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high}
            more = {"mean_confidence": one.mean_confidence, "nonfinite": one.nonfinite, "seconds": one.seconds}
            where = {"corruption": csv_text(name), "family": families.get(name, ""), "severity": severity}
            writer.writerow({**common, **where, **counts, "level": accuracy.level, **more})
    return buffer.getvalue()


def corruption_markdown(page: CorruptionPage) -> str:
    """The page without its pictures, for a pull request or a terminal."""
    parts = [f"# {md_text(page.title)}", md_text(sample(page.first.data)), *map(md_text, page.caveats)]
    parts += [f"- **{md_text(f.title)}** {md_text(f.advice)}" for kind in (*page.serious, *page.other)
              for _, f in kind.cases]  # fmt: skip
    parts += ["## Corruptions and attacks", _overview(page), "## Corruption by corruption"]
    parts += [part for s in page.subjects for part in _heat(s.heat)]
    if page.comparisons:
        parts += ["## Model against model", _paired(page)]
    parts += ["## Classes", _classes(page), *next_part(page.steps), "## How to reproduce"]
    parts += ["\n".join(f"    {line}" for line in command.splitlines()) for command in page.commands]
    parts.append("\n".join(f"- {fact.name}: {md_text(' / '.join(fact.values))}" for fact in page.facts))
    return "\n\n".join(parts) + "\n"


def _overview(page: CorruptionPage) -> str:
    rows = [
        [md_text(row.name), md_text(row.detail), *(both(one) if one else "" for one in row.fractions)]
        for row in page.overview
    ]
    return md_table(["Accuracy", "", *(md_text(s.name) for s in page.subjects)], rows)


def _heat(heat: Heat) -> list[str]:
    ce = ["CE"] if heat.normalised else []
    rows = [
        [
            row.name + (" (not comparable)" if row.note else ""),
            *(cell.text for cell in row.cells),
            f"{row.mean} {row.interval}",
            *([row.ce] if heat.normalised else []),
        ]
        for _, family in heat.families
        for row in family
    ]
    return [f"### {md_text(heat.title)}", md_table(["Accuracy in %", *map(str, heat.severities), "Mean", *ce], rows)]


def _paired(page: CorruptionPage) -> str:
    rows = []
    for c in page.comparisons:
        significant = sum(pair.corrected < 1 - c.level for pair in c.cells)
        smallest = min(pair.corrected for pair in c.cells)
        rows.append(
            [
                f"{md_text(c.b)} over {md_text(c.a)}",
                f"{points(c.mean.value)} [{points(c.mean.low)}, {points(c.mean.high)}]",
                f"{significant} of {len(c.cells)}",
                html.escape(p_value(smallest)),
            ]
        )
    return md_table(
        ["Second over first", "Mean difference in points", "Significant cells", "Smallest p, corrected"], rows
    )


def _classes(page: CorruptionPage) -> str:
    def cell(row: int, column: int) -> str:
        one = page.classes[row].cells[column]
        if one is None:
            return ""
        clean = "" if one.clean is None else f"{percent(one.clean / one.n, 0)} to "
        return f"{clean}{percent(one.corrupted, 0)}; {spoken(one.worst)} {percent(one.worst_accuracy, 0)}"

    rows = [
        [md_text(line.name), str(line.n), *(cell(i, k) for k in range(len(page.subjects)))]
        for i, line in enumerate(page.classes)
    ]
    return md_table(["Class", "n", *(md_text(s.name) for s in page.subjects)], rows)
