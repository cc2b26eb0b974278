"""Curves of a run in TensorBoard, as a callback for ``fit``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from robustlab.training.settings import Progress

Show: TypeAlias = Callable[[Progress], None]


@contextmanager
def tensorboard(folder: str | Path) -> Iterator[Show]:
    """Writes the numbers of each step as ``step/NAME``, and those of each epoch with its validation as ``epoch/NAME``.

    A resumed run goes on in the same folder where it was.

    Args:
        folder: where ``tensorboard --logdir`` will look.

    Yields: what ``fit`` takes as ``progress``; ``together`` joins it with a progress bar.
    Raises: ImportError if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("TensorBoard is not installed: pip install tensorboard") from error
    with SummaryWriter(str(folder)) as writer:

        def show(at: Progress) -> None:
            kind, place = ("step", (at.epoch - 1) * at.steps + at.step) if at.summary is None else ("epoch", at.epoch)
            for name, value in (at.metrics if at.summary is None else at.summary).items():
                writer.add_scalar(f"{kind}/{name}", value, place)

        yield show


def together(*shows: Show) -> Show:
    """One callback that calls several, in their order."""

    def show(at: Progress) -> None:
        for one in shows:
            one(at)

    return show
