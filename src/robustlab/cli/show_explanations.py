"""Runs of explanations on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustlab.cli import show

if TYPE_CHECKING:
    from robustlab.evaluation import Explanations


def explanation_tables(e: Explanations) -> None:
    """Prints accuracy and the numbers of the maps, a column per model."""
    from robustlab.report.explanation_words import answer
    from robustlab.report.words import p_value, percent, real, sample, span

    names = [model.name for model in e.models]
    accuracy = ", ".join(f"{n} {show.fraction(a)}" for n, a in zip(names, e.accuracy, strict=True))
    for line in answer(e):
        show.paragraph(line, [])
    title = f"{sample(e.data)} Accuracy: {accuracy}. Brackets: {percent(e.level, 0)} intervals."
    found = {(one.number, one.method, one.model): one.mean for one in e.results}
    differences = {(one.number, one.method): one for one in e.differences}
    rows = []
    for name, method in dict.fromkeys((one.number, one.method) for one in e.results):
        means = [found.get((name, method, model)) for model in range(len(names))]
        cells = ["" if one is None else f"{real(one.value)} {span(one)}" for one in means]
        d = differences.get((name, method))
        more = [] if len(names) == 1 else ["" if d is None else p_value(d.corrected)]
        rows.append([f"{name} {method}".strip(), *cells, *more])
    show.table(["number", *names, *(["p, corrected"] if len(names) > 1 else [])], rows, title=title)


def found_findings(e: Explanations) -> None:
    """Prints the findings, a line each, with the model and the method that they are about."""
    for one in e.found:
        about = ", ".join(filter(None, (e.models[one.model].name, one.method)))
        text = f"{one.finding.severity}: {about}: {one.finding.title} ({one.finding.code})"
        show.say(text, "warning" if one.finding.severity != "info" else "plain")
