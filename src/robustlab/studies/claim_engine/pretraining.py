"""Tables of AdvProp and Noisy Student for the guide: results of several claims side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from robustlab.report.words import NOTHING
from robustlab.statistics.intervals import t_interval
from robustlab.studies.claim_engine.outcome import Outcome
from robustlab.studies.claim_engine.record import Unit

_UNATTACKED = {
    "clean_accuracy": "clean, %",
    "corrupted_accuracy": "corrupted, %",
    "hard_accuracy": "mined hard, %",
}
_ATTACKED = {
    "clean_accuracy": "clean, %",
    "fgsm_accuracy": "FGSM, %",
    "pgd_10_accuracy": "PGD-10, %",
    "autoattack_accuracy": "AutoAttack, %",
}
_BLOCK = re.compile(r"<!-- (\w+) -->\n.*?<!-- end -->\n", re.DOTALL)


class Row(NamedTuple):
    """One kind of training."""

    title: str
    claim: str
    arm: str


class Table(NamedTuple):
    """Some kinds of training, and the metrics of each."""

    rows: tuple[Row, ...]
    columns: dict[str, str]
    """Headings by the name of the metric."""


def _on_digits(claim: str) -> Table:
    """Table after fine-tuning on digits."""
    rows = (("vanilla", "supervised"), ("AdvProp", "advprop"), ("Noisy Student", "student"))
    columns = {name: title for name, title in _ATTACKED.items() if name != "autoattack_accuracy"}
    return Table(tuple(Row(title, claim, arm) for title, arm in rows), columns)


TABLES = {
    "natural": Table(
        (
            Row("vanilla", "advprop", "vanilla"),
            Row("AdvProp", "advprop", "advprop"),
            Row("AdvProp, one shared BatchNorm", "auxiliary-norms", "shared-norms"),
            Row("Fast AdvProp", "fast-advprop", "fast-advprop"),
            Row("vanilla with a student's noise", "student-noise", "noisy-labels"),
            Row("student without noise", "student-noise", "without-noise"),
            Row("Noisy Student", "noisy-student", "student"),
            Row("Noisy Student with AdvProp", "advprop-noisy-student", "advprop-student"),
        ),
        _UNATTACKED,
    ),
    "attacked": Table(
        (
            Row("vanilla", "noisy-student-attacked", "supervised"),
            Row("Noisy Student", "noisy-student-attacked", "student"),
        ),
        _ATTACKED,
    ),
    "digits": _on_digits("pretrained-weights"),
    "small": _on_digits("pretrained-weights-small"),
}
"""Tables by their name in the page."""


def filled(page: str, outcomes: Sequence[Outcome]) -> str:
    """A page whose blocks ``<!-- NAME -->`` to ``<!-- end -->`` hold the tables of these results.

    Raises: ValueError for a block whose name is no table.
    """

    def made(block: re.Match[str]) -> str:
        name = block[1]
        if name not in TABLES:
            raise ValueError(f"no table is called {name!r}; there are {', '.join(TABLES)}")
        return f"<!-- {name} -->\n{table(TABLES[name], outcomes)}\n<!-- end -->\n"

    return _BLOCK.sub(made, page)


def table(wanted: Table, outcomes: Sequence[Outcome]) -> str:
    """A table in Markdown: means over seeds, with 95 % t-intervals."""
    head = f"| training | {' | '.join(wanted.columns.values())} |\n|---{'|---:' * len(wanted.columns)}|"
    lines = [f"| {row.title} | {' | '.join(_cells(row, wanted, outcomes))} |" for row in wanted.rows]
    return "\n".join([head, *lines])


def units_of(row: Row, outcomes: Sequence[Outcome]) -> tuple[Unit, ...]:
    """Results of one kind of training, one for each seed."""
    return tuple(unit for one in outcomes for unit in one.units if (unit.claim, unit.arm) == (row.claim, row.arm))


def _cells(row: Row, wanted: Table, outcomes: Sequence[Outcome]) -> list[str]:
    units = units_of(row, outcomes)
    return [_cell([unit.metrics[name] for unit in units if name in unit.metrics]) for name in wanted.columns]


def _cell(values: Sequence[float]) -> str:
    if not values:
        return NOTHING
    mean, low, high = (100 * value for value in t_interval(values))
    return f"{mean:.1f}" if len(values) < 2 else f"{mean:.1f} [{max(low, 0.0):.1f}, {min(high, 100.0):.1f}]"
