"""The report for machines and for text: CSV rows and Markdown tables."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence

from robustlab.core.finding import Finding
from robustlab.evaluation.record import AttackResult, Evaluation, StageResult
from robustlab.report.page import Page
from robustlab.report.plain import both, csv_text, marked, md_table, md_text, next_part
from robustlab.report.provenance import Findings
from robustlab.report.sections import Shown
from robustlab.report.stages import StageTable
from robustlab.report.trace_panels import TracePanels
from robustlab.report.words import budget, duration, mark, number, p_value, percent, points, sample
from robustlab.statistics.intervals import Interval

COLUMNS = (
    *("model", "data", "n", "norm", "attack", "eps", "stage", "correct", "accuracy", "low", "high", "level"),
    *("attacked", "fooled", "reused", "success", "success_low", "success_high", "target_reached"),
    *("median_linf", "median_l2", "median_l1", "forward", "backward", "seconds", "mark"),
)


def to_csv(evaluations: Sequence[Evaluation]) -> str:
    """One line per model, attack and eps, and one per stage of it; the clean accuracy is the attack "clean" at eps 0.

    The last column has the reason if the numbers of that model are not to be trusted.

    The accuracy of a stage is the fraction of examples that are still robust after it; it has no interval.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for e in evaluations:
        common = {"model": csv_text(e.model.name), "data": csv_text(e.data.name), "n": e.data.n, "norm": e.threat.norm}
        common |= {"mark": mark(e.findings)}
        clean = {"attack": "clean", "eps": 0.0, "seconds": e.clean.seconds, **_fraction(e.clean.accuracy)}
        writer.writerow(common | clean)
        for r in e.results:
            writer.writerow(common | _result(r))
            writer.writerows(common | _stage(r, s, e.data.n) for s in r.stages)
        writer.writerows(common | {"attack": "worst case", "eps": w.eps, **_fraction(w.robust)} for w in e.worst)
    return buffer.getvalue()


def _fraction(one: Interval) -> dict[str, object]:
    return {
        "correct": one.count,
        "accuracy": one.value,
        "low": one.low,
        "high": one.high,
        "level": one.level,
    }


def _result(r: AttackResult) -> dict[str, object]:
    return {
        **{
            "attack": csv_text(r.attack),
            "eps": r.eps,
            "attacked": r.attacked,
            "reused": r.reused,
            "seconds": r.seconds,
        },
        **{"success": r.success.value, "success_low": r.success.low, "success_high": r.success.high},
        "target_reached": "" if r.target_reached is None else r.target_reached.value,
        **{f"median_{name}": getattr(r.sizes, name).median for name in ("linf", "l2", "l1")},
        **{"forward": r.queries.forward, "backward": r.queries.backward},
        **_fraction(r.robust),
    }


def _stage(r: AttackResult, s: StageResult, n: int) -> dict[str, object]:
    return {
        **{"attack": csv_text(r.attack), "eps": r.eps, "stage": csv_text(s.stage), "correct": s.still_robust},
        **{"accuracy": s.still_robust / n, "attacked": s.attacked, "fooled": s.fooled, "seconds": s.seconds},
        **{"forward": s.queries.forward, "backward": s.queries.backward},
    }


def to_markdown(page: Page) -> str:
    """The page without its pictures, for a pull request or a terminal."""
    parts = [f"# {md_text(page.title)}", _sample(page)]
    parts += ["## Do not trust these numbers yet", *_findings(page.serious)] if page.serious else []
    parts += ["## Findings of the doctor", *_findings(page.other)] if page.other else []
    parts += ["## Robustness", _headline(page), *map(md_text, page.caveats)]
    parts += [part for s in page.subjects for table in s.stages for part in _stages(page, s.name, table)]
    parts += ["## Security curve", _curve(page)] if page.curve_rows else []
    parts += ["## Model against model", _paired(page)] if page.comparisons else []
    parts += [part for s in page.subjects for trace in s.traces for part in _trace(s.name, trace)]
    parts += ["## Cost of the attacks", _attacks(page)]
    parts += [part for section in page.sections for part in _section(section)]
    parts += next_part(page.steps)
    parts += ["## How to reproduce", _reproduce(page)]
    return "\n\n".join(parts) + "\n"


def _sample(page: Page) -> str:
    level = percent(page.first.clean.accuracy.level, 0)
    return f"{md_text(sample(page.first.data))} Brackets: exact {level} intervals."


def _headline(page: Page) -> str:
    robust = "" if page.eps is None else f"Robust accuracy at {page.first.threat.norm} eps {budget(page.eps)}"
    rows = [
        [
            marked(s.name, s.evaluation.findings),
            both(s.evaluation.clean.accuracy),
            both(s.worst.robust) if s.worst else "",
        ]
        for s in page.subjects
    ]
    return md_table(["Model", "Clean accuracy", robust], rows)


def _findings(kinds: Sequence[Findings]) -> list[str]:
    return [_finding(name, f) for kind in kinds for name, f in kind.cases]


def _finding(name: str, f: Finding) -> str:
    evidence = ", ".join(f"{key}: {value}" for key, value in f.evidence.items())
    head = f"- **{md_text(f.title)}** ({f.severity}, `{md_text(f.code)}`, {md_text(name)})"
    return f"{head} {md_text(f.advice)} {md_text(evidence)}"


def _curve(page: Page) -> str:
    rows = [[md_text(r.attack), budget(r.eps), *(both(i) if i else "" for i in r.fractions)] for r in page.curve_rows]
    return md_table(["Attack", "eps", *(md_text(s.name) for s in page.subjects)], rows)


def _paired(page: Page) -> str:
    rows = [
        [
            f"{md_text(c.b)} over {md_text(c.a)}",
            "clean" if c.eps is None else f"{md_text(c.attack)}, eps {budget(c.eps)}",
            f"{points(c.difference)} [{points(c.low)}, {points(c.high)}]",
            str(c.only_a),
            str(c.only_b),
            html.escape(p_value(c.p_value)),
        ]
        for c in page.comparisons
    ]
    head = ["Second over first", "Measured", "Difference in points", "Only first correct", "Only second correct", "p"]
    return md_table(head, rows)


def _stages(page: Page, model: str, table: StageTable) -> list[str]:
    rows = [
        [
            md_text(r.name),
            *(str(r.attacked) if r.passes is not None else "", str(r.fooled), str(r.still_robust)),
            "" if r.passes is None else number(r.passes),
            "" if r.seconds is None else html.escape(duration(r.seconds)),
        ]
        for r in table.rows
    ]
    where = f"{page.first.threat.norm} eps {budget(page.eps or 0.0)}"
    head = f"## Examples fooled by each stage: {md_text(model)} under {md_text(table.attack)}, {where}"
    return [head, md_table(["Stage", "Attacked", "Fooled", "Still robust", "Passes each", "Time"], rows)]


def _trace(model: str, trace: TracePanels) -> list[str]:
    rows = [[str(p.point), *(number(v) for v in (p.score, p.margin, p.size, p.gradient_norm))] for p in trace.rows]
    head = ["Point", "Loss", "Negative margin", "Size", "Gradient norm"]
    return [
        f"## Trace of the attack on {md_text(model)}: {trace.title.lower()}",
        md_text(trace.words),
        md_table(head, rows),
    ]


def _attacks(page: Page) -> str:
    rows = [
        [md_text(s.name), md_text(r.attack), both(r.robust), both(r.success), html.escape(duration(r.seconds))]
        for s in page.subjects
        for r in s.at_headline()
    ]
    return md_table(["Model", "Attack", "Robust", "Success", "Time"], rows)


def _section(section: Shown) -> list[str]:
    """A section that was added."""
    note, head, rows = section.content
    texts = [f"## {md_text(section.title)}", *([md_text(note)] if note else [])]
    table = [md_table([md_text(cell) for cell in head], [[md_text(cell) for cell in row] for row in rows])]
    return [*texts, *(table if head else [])]


def _reproduce(page: Page) -> str:
    commands = [f"    {' '.join(command.split())}" for command in page.commands]
    facts = [f"- {md_text(f.name)}: {md_text(' / '.join(f.values))}" for f in page.facts]
    return "\n".join([*commands, "", *facts])
