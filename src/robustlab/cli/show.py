"""Output of the commands: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Literal

from robustlab.cli import alone

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from robustlab.evaluation import (
        Comparison,
        CorruptionEvaluation,
        Evaluation,
        Explanations,
        Finding,
        TextEvaluation,
    )
    from robustlab.runs.progress import Progress, Report
    from robustlab.statistics import Estimate, Interval

Tone = Literal["plain", "good", "warning", "error"]
_WIDE = 10_000
_STYLES: dict[Tone, str] = {"plain": "", "good": "green", "warning": "yellow", "error": "bold red"}


@cache
def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    piped = not stderr and not sys.stdout.isatty() and "COLUMNS" not in os.environ
    width = _WIDE if piped else None  # without a terminal no line is too long
    return Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False, width=width)


class _LogHandler(logging.Handler):
    """Prints the log of the library on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record as a line."""
        say(record.getMessage())


_LOGGED = _LogHandler()


class _Volume:
    """Amount of output besides results: 0 errors and warnings, 1 remarks and progress, 2 also the library's log."""

    level = 1


def volume(level: int) -> None:
    """Sets the amount of output, see ``_Volume``."""
    _Volume.level = level
    ours = logging.getLogger("robustlab")
    ours.setLevel(logging.DEBUG if level > 1 else logging.NOTSET)
    ours.removeHandler(_LOGGED)
    if level > 1:
        ours.addHandler(_LOGGED)


def notes() -> Console:
    """Standard error, for progress and remarks."""
    return _console(stderr=True)


def say(text: str, tone: Tone = "plain") -> None:
    """Prints a remark on standard error."""
    head = {"error": "Error: ", "warning": "Warning: "}.get(tone, "")
    if not head and not _Volume.level:
        return
    notes().print(head, end="", style=_STYLES[tone], markup=False)
    notes().print(_printable(text), style=_STYLES[tone] if not head else "", markup=False)


def _printable(text: str) -> str:
    """A text without control characters of a terminal; harmless text costs no import."""
    if text.replace("\n", "").isprintable():
        return text
    from robustlab.core.text import printable

    return printable(text)


def marked(result: Evaluation | CorruptionEvaluation | TextEvaluation | Explanations) -> None:
    """Prints a result as JSON on standard output, with the codes of findings that make it doubtful."""
    from robustlab.report.words import doubts

    machine({**result.to_json(), "not_to_be_trusted": list(doubts(result.findings))})


def machine(record: object) -> None:
    """Prints a result as JSON on standard output."""
    alone.put(json.dumps(record, indent=1, ensure_ascii=False))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """Prints a result as a table on standard output; columns after the first are numbers.

    No cell is cut: on a narrow terminal headings are folded at each word, then cells are folded between words, and if
    that is not enough, each row is a list of its cells. Without a terminal the output is as wide as the table.
    """
    if title:
        paragraph(title, [])
    head, rows = [_printable(cell) for cell in head], [[_printable(cell) for cell in row] for row in rows]
    console = _console(stderr=False)
    split = [head[0], *(name.replace(" ", "\n") for name in head[1:])]
    for heads, least in ((head, _widest), (split, _widest), (split, _longest)):
        if widths := _widths(heads, rows, least, console.width):
            console.print(_drawn(heads, rows, widths), soft_wrap=False)
            return
    for row in rows:
        paragraph(row[0], [f"{name}: {cell}" for name, cell in zip(head[1:], row[1:], strict=True) if cell])


def _widths(
    head: Sequence[str], rows: Sequence[Sequence[str]], least: Callable[[str], int], whole: int
) -> list[int] | None:
    """Widths of the columns, so that the table fits; None if it does not.

    The first column needs the width of its longest word, the others ``least`` of their cells; the space that is left
    goes to columns that can use it, from the left.
    """
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(least if number else _longest, cells)) for number, cells in enumerate(columns)]
    left = whole - sum(widths) - 3 * len(head) - 1  # a blank on each side, and one between
    for number, cells in enumerate(columns):
        more = max(0, min(left, max(map(_widest, cells)) - widths[number]))
        widths[number] += more
        left -= more
    return widths if left >= 0 else None


def _drawn(head: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD)
    for number, (heading, width) in enumerate(zip(head, widths, strict=True)):
        drawn.add_column(Text(heading), justify="right" if number else "left", overflow="fold", width=width)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def _widest(text: str) -> int:
    """Columns of the longest line of a text."""
    from rich.cells import cell_len

    return max(map(cell_len, text.splitlines()), default=0)


def _longest(text: str) -> int:
    """Columns of the longest word of a text."""
    from rich.cells import cell_len

    return max(map(cell_len, re.split(r"[ \n]+", text)), default=0)  # not at a no-break space


@contextmanager
def evaluating(title: str) -> Iterator[Report]:
    """One bar over a whole evaluation, and a line for each stage that is done; for ``Settings.progress``."""
    with bars(f"evaluate {title}") as bar:

        def report(at: Progress) -> None:
            bar(at)
            if _Volume.level and at.part and at.done == at.total and not at.metrics.get("rechecked"):
                notes().print(f"{at.detail}, {at.metrics['robust']:.0f} still robust", markup=False)

        yield report


@contextmanager
def bars(title: str = "") -> Iterator[Report]:
    """A bar for each task, or one with a title for all of them, on standard error; none with ``--quiet``."""
    from robustlab.runs.progress import progress_bars

    if not _Volume.level:
        yield lambda _: None
        return
    with progress_bars(title, console=notes()) as report:
        yield report


def evaluations(results: Sequence[Evaluation]) -> None:
    """Prints clean accuracy and the worst case at each eps, a column per model, marked if not to be trusted."""
    from robustlab.report.words import budget, mark, percent, sample

    first = results[0]
    rows = [["clean", *(fraction(e.clean.accuracy) for e in results)]]
    for eps in sorted({w.eps for e in results for w in e.worst}):
        at = [next((w.robust for w in e.worst if w.eps == eps), None) for e in results]
        rows.append([f"{first.threat.norm} {budget(eps)}", *(fraction(s) if s else "" for s in at)])
    attacks = ", ".join(a.name for a in first.attacks)
    level = percent(first.clean.accuracy.level, 0)
    title = f"{sample(first.data)} Attacks: {attacks}. Brackets: exact {level} intervals."
    if any(mark(e.findings) for e in results):
        rows.append(["mark", *(mark(e.findings) for e in results)])
    table(["accuracy", *(e.model.name for e in results)], rows, title=title)
    for caveat in dict.fromkeys(caveat for e in results for caveat in e.caveats):
        paragraph(caveat, [])


def stages(result: Evaluation) -> None:
    """Prints the examples that each stage fooled, a table for each attack with stages, at each eps."""
    from robustlab.report.words import budget, duration, number

    head = ["stage", "attacked", "fooled", "still robust", "passes each", "time"]
    for one in result.results:
        rows = [
            [
                s.stage,
                str(s.attacked),
                str(s.fooled),
                str(s.still_robust),
                number(s.queries.forward + s.queries.backward),
                duration(s.seconds),
            ]
            for s in one.stages
        ]
        if rows:
            table(
                head,
                rows,
                title=f"{one.attack}, {result.threat.norm} eps {budget(one.eps)}: examples fooled by each stage",
            )


def comparisons(found: Sequence[Comparison]) -> None:
    """Prints paired comparisons, a table for each pair of models."""
    from robustlab.report.words import budget, p_value, points

    for a, b in dict.fromkeys((c.a, c.b) for c in found):
        rows = [
            [
                "clean" if c.eps is None else f"{c.attack}, eps {budget(c.eps)}",
                f"{points(c.difference)} [{points(c.low)}, {points(c.high)}]",
                str(c.only_b),
                str(c.only_a),
                p_value(c.p_value),
            ]
            for c in found
            if (c.a, c.b) == (a, b)
        ]
        table(["measured", "points more", "only it", "only other", "p"], rows, title=f"{b} over {a}")


def findings(results: Sequence[Evaluation | CorruptionEvaluation | TextEvaluation | Explanations]) -> None:
    """Prints the findings of the doctors, a line each; the report has the advice."""
    tones: dict[str, Tone] = {"serious": "error", "warning": "warning", "info": "plain"}
    for e in results:
        for one in e.findings:
            notes().print(f"{one.severity}: ", style=_STYLES[tones[one.severity]], end="", markup=False)
            notes().print(_printable(f"{e.model.name}: {one.title} ({one.code})"), markup=False)


def fraction(value: Interval | Estimate) -> str:
    """A fraction in percent, with its interval."""
    from robustlab.report.words import interval, percent

    return f"{percent(value.value)} {interval(value)}"


def paragraph(title: str, lines: Sequence[str]) -> None:
    """Prints a result in words on standard output."""
    out = _console(stderr=False)
    out.print(_printable(title), style="bold", markup=False)
    for line in lines:
        out.print(_printable(f"  {line}"), markup=False)


def diagnosis(found: Sequence[Finding]) -> None:
    """Prints findings as the result of a command on standard output."""
    for one in found:
        evidence = ", ".join(f"{key} {value}" for key, value in one.evidence.items())
        paragraph(f"{one.severity}: {one.title}", [one.advice, f"{one.code}: {evidence}"])
    if not found:
        paragraph("Nothing found.", [])
