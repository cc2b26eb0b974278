"""A bar on the terminal while files are downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from robustlab.core.kinds import typed
from robustlab.data.sources import Progress

if TYPE_CHECKING:
    from rich.console import Console


@typed
@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[Progress]:
    """Shows a bar per file; what it gives goes into ``load(..., progress=)``."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, console=console) as bars:
        tasks = {}

        def advance(name: str, done: int, expected: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name)
            bars.update(tasks[name], completed=done, total=expected)

        yield advance
