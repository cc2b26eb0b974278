"""Progress of long work: one tuple, the callback that receives it, and one bar in the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from robustlab.core.kinds import typed
from robustlab.core.words import duration

if TYPE_CHECKING:
    from rich.console import Console

_NONE: Mapping[str, float] = MappingProxyType({})


class Progress(NamedTuple):
    """State of some work, the argument of every ``progress=`` callback."""

    task: str
    """Current task: "clean" or an attack in an evaluation, a corruption, "fetch FILE", ..."""
    done: float
    """Units of this task."""
    total: float | None
    """Units of this task; None: unknown."""
    unit: str = ""
    """"examples", "images", "files", "bytes", ...; empty: parts of 1."""
    part: str = ""
    """Name of the stage, restart or severity, if the task has several."""
    detail: str = ""
    """One line for a person."""
    overall: float = math.nan
    """Finished fraction of the whole work, 0..1; NaN: this task is the whole work."""
    seconds_left: float = math.nan
    """Seconds that the whole work may still take; NaN while nothing is known."""
    metrics: Mapping[str, float] = _NONE
    """Numbers by name: "eps" and "fooled" of an evaluation, metrics of a training step."""
    summary: Mapping[str, float] | None = None
    """Numbers of a part that is now complete, such as an epoch with its validation; None while it goes on."""

    @property
    def fraction(self) -> float:
        """Finished fraction of the whole work, 0..1; 0 if the total is unknown."""
        if not math.isnan(self.overall):
            return self.overall
        if self.total is None:
            return 0.0
        return self.done / self.total if self.total else 1.0


Report: TypeAlias = Callable[[Progress], None]
"""Callback for each state of some work; an exception in it ends the work."""


@typed
@contextmanager
def progress_bars(title: str = "", *, console: Console | None = None) -> Iterator[Report]:
    """Draws a bar in the terminal for each task that reports, from its first report on.

    Args:
        title: of one bar for all tasks together; empty: a bar for each task under its own name.
        console: rich console; None: the default one, which shows only the end if there is no terminal.

    Yields: the callback for ``progress=``.
    """
    from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    name = TextColumn("{task.description}", markup=False)
    rest = Column(ratio=1, no_wrap=True)  # the space that is left, so that words are cut and not the bar
    words = TextColumn("{task.fields[words]}", markup=False, table_column=rest)
    elapsed = TimeElapsedColumn(table_column=Column(min_width=7, no_wrap=True))  # whole, however narrow the terminal
    columns = (name, BarColumn(bar_width=20), TaskProgressColumn(), elapsed, words)
    drawn, tasks = Bars(*columns, console=console, refresh_per_second=4, expand=True), dict[str, TaskID]()

    def report(at: Progress) -> None:
        if not tasks:
            drawn.start()
        shown = title or at.task
        if shown not in tasks:
            tasks[shown] = drawn.add_task(shown, total=1.0, words="")
        drawn.update(tasks[shown], completed=at.fraction, words=in_words(at))

    try:
        yield report
    finally:
        if tasks:
            drawn.stop()


def in_words(at: Progress) -> str:
    """Details and time left, in one line."""
    text = at.detail or counted(at)
    return f"{text}; {duration(at.seconds_left)} left" if at.seconds_left > 0 else text  # not if it is NaN


def counted(at: Progress) -> str:
    """Units done, with the total if it is known.

    >>> counted(Progress("check", 3, 40, "files")), counted(Progress("fetch", 2_500_000, None, "bytes"))
    ('3/40 files', '2.5 MB')
    """
    if at.unit == "bytes":
        return f"{at.done / 1e6:.1f} MB" if at.total is None else f"{at.done / 1e6:.1f}/{at.total / 1e6:.1f} MB"
    if not at.unit:
        return ""
    return f"{at.done:g} {at.unit}" if at.total is None else f"{at.done:g}/{at.total:g} {at.unit}"
