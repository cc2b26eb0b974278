"""Curves of a run in TensorBoard and MLflow, as callbacks for ``fit``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from robustlab.core.files import replace_atomically
from robustlab.core.processes import launched
from robustlab.training.settings import Progress

Show: TypeAlias = Callable[[Progress], None]
RUN_ID = "mlflow-run-id.txt"
_EVERY = 10
"""MLflow writes to a database each time, so it is told of each so-manieth step, and of all epochs."""


@contextmanager
def trackers(folder: str | Path) -> Iterator[Show]:
    """Writes the numbers of a run to whatever is installed of TensorBoard and MLflow.

    Args:
        folder: of the run; TensorBoard's files go to ``tensorboard`` in it.

    Yields: what ``fit`` takes as ``progress``; it does nothing if neither is installed, and in all processes but the
        first of those that train together.
    """
    with ExitStack() as stack:
        shows: list[Show] = []
        if launched().first and _installed("tensorboard"):
            shows.append(stack.enter_context(tensorboard(Path(folder) / "tensorboard")))
        if launched().first and _installed("mlflow"):
            shows.append(stack.enter_context(mlflow(folder)))
        yield together(*shows)


def _installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return sys.modules[package] is not None if package in sys.modules else find_spec(package) is not None


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
            kind, place, metrics = _curves(at)
            for name, value in metrics.items():
                writer.add_scalar(f"{kind}/{name}", value, place)

        yield show


@contextmanager
def mlflow(folder: str | Path, *, experiment: str = "robustlab") -> Iterator[Show]:
    """Writes the numbers of every tenth step and of each epoch to MLflow, through Accelerate, named as in TensorBoard.

    Where MLflow keeps them is for its own settings to say (``MLFLOW_TRACKING_URI``). A resumed run goes on in the
    MLflow run whose id is in the folder.

    Args:
        folder: of the run, whose name the MLflow run gets.
        experiment: that it is filed under.

    Yields: what ``fit`` takes as ``progress``; the MLflow run begins with its first step, and ends with the block.
    Raises: ImportError if MLflow is not installed.
    """
    if not _installed("mlflow"):
        raise ImportError("MLflow is not installed: pip install mlflow")
    from accelerate.tracking import MLflowTracker

    place = Path(folder) / RUN_ID
    known = place.read_text().strip() if place.is_file() else None
    tracker = MLflowTracker(experiment_name=experiment, run_id=known, run_name=Path(folder).name)
    with ExitStack() as stack:

        def begin() -> None:
            tracker.start()  # which Accelerate allows only where it is set up, as it is inside fit
            stack.push(tracker.tracker)
            replace_atomically(place, lambda part: _filled(part, tracker.tracker.info.run_id))

        def show(at: Progress) -> None:
            if not hasattr(tracker, "active_run"):
                begin()
            kind, number, metrics = _curves(at)
            if kind == "epoch" or number % _EVERY == 0:
                tracker.log({f"{kind}/{name}": value for name, value in metrics.items()}, step=number)

        yield show


def _filled(path: Path, text: str) -> None:
    path.write_text(text)


def _curves(at: Progress) -> tuple[str, int, dict[str, float]]:
    """What kind of curves a report goes on with, where, and with what."""
    if at.summary is None:
        return "step", (at.epoch - 1) * at.steps + at.step, dict(at.metrics)
    return "epoch", at.epoch, dict(at.summary)


def together(*shows: Show) -> Show:
    """One callback that calls several, in their order."""

    def show(at: Progress) -> None:
        for one in shows:
            one(at)

    return show
