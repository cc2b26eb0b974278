"""A progress bar in the terminal, as a callback for ``fit``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from robustlab.core.kinds import typed
from robustlab.training.settings import Progress

if TYPE_CHECKING:
    from rich.console import Console


@typed
@contextmanager
def progress_bar(title: str = "training", *, console: Console | None = None) -> Iterator[Callable[[Progress], None]]:
    """Draws one bar over all epochs, with loss and accuracy of the latest step.

    Args:
        title: before the bar.
        console: where to draw; None: rich's own, which shows nothing but the end where there is no terminal.

    Yields: what ``fit`` takes as ``progress``.
    """
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Bars(*columns, console=console, refresh_per_second=4) as bars:
        task = bars.add_task(title, total=None, said="")

        def show(at: Progress) -> None:
            bars.update(
                task,
                total=at.epochs * at.steps,
                completed=(at.epoch - 1) * at.steps + at.step,
                said=f"epoch {at.epoch}/{at.epochs}  {said(at)}",
            )

        yield show


def said(at: Progress) -> str:
    """Loss and accuracy of a step in words."""
    return f"loss {at.metrics['loss']:.3f}  accuracy {at.metrics['accuracy']:.1%}"
