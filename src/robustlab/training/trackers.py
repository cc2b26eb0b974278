"""Curves of a run in TensorBoard and MLflow, as callbacks for ``fit``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from robustlab.core.kinds import typed
from robustlab.core.processes import launched
from robustlab.runs.files import write_atomically
from robustlab.runs.progress import Progress, Report

Put: TypeAlias = Callable[[str, int, Mapping[str, float]], None]
"""Writes numbers by name, of a kind, at a step."""
RUN_ID = "mlflow-run-id.txt"
_EVERY = 10
"""MLflow writes to a database each time, so it is told of each so-manieth step, and of all epochs."""


@typed
@contextmanager
def trackers(folder: str | Path) -> Iterator[Report]:
    """Writes the numbers of a run to whatever is installed of TensorBoard and MLflow.

    Args:
        folder: of the run; TensorBoard's files go to ``tensorboard`` in it.

    Yields: what ``fit`` takes as ``progress``; it does nothing if neither is installed, and in all processes but the
        first of those that train together.
    """
    with ExitStack() as stack:
        shows: list[Report] = []
        if launched().first and _installed("tensorboard"):
            shows.append(stack.enter_context(tensorboard(Path(folder) / "tensorboard")))
        if launched().first and _installed("mlflow"):
            shows.append(stack.enter_context(mlflow(folder)))
        yield together(*shows)


def _installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return sys.modules[package] is not None if package in sys.modules else find_spec(package) is not None


@contextmanager
def scalars(folder: str | Path) -> Iterator[Put]:
    """Writes single numbers to whatever is installed of TensorBoard and MLflow.

    Args:
        folder: of the run; TensorBoard's files go to ``tensorboard`` in it.

    Yields: a function of a kind, a step and numbers by name, which are written as ``KIND/NAME``.
    """
    with ExitStack() as stack:
        puts: list[Put] = []
        if launched().first and _installed("tensorboard"):
            puts.append(stack.enter_context(_tensorboard_scalars(Path(folder) / "tensorboard")))
        if launched().first and _installed("mlflow"):
            puts.append(stack.enter_context(_mlflow_scalars(folder, "robustlab")))

        def put(kind: str, step: int, numbers: Mapping[str, float]) -> None:
            for one in puts:
                one(kind, step, numbers)

        yield put


@contextmanager
def _tensorboard_scalars(folder: str | Path) -> Iterator[Put]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("TensorBoard is not installed: pip install tensorboard") from error
    with SummaryWriter(str(folder)) as writer:

        def put(kind: str, step: int, numbers: Mapping[str, float]) -> None:
            for name, value in numbers.items():
                writer.add_scalar(f"{kind}/{name}", value, step)

        yield put


@contextmanager
def _mlflow_scalars(folder: str | Path, experiment: str) -> Iterator[Put]:
    if not _installed("mlflow"):
        raise ImportError("MLflow is not installed: pip install mlflow")
    from accelerate import PartialState
    from accelerate.tracking import MLflowTracker

    place = Path(folder) / RUN_ID
    known = place.read_text().strip() if place.is_file() else None
    tracker = MLflowTracker(experiment_name=experiment, run_id=known, run_name=Path(folder).name)
    with ExitStack() as stack:

        def begin() -> None:
            if not PartialState._shared_state:  # Accelerate logs only where its state is there, as inside fit
                PartialState()
                stack.callback(PartialState._reset_state)
            tracker.start()
            stack.push(tracker.tracker)
            write_atomically(place, tracker.tracker.info.run_id)

        def put(kind: str, step: int, numbers: Mapping[str, float]) -> None:
            if not hasattr(tracker, "active_run"):
                begin()
            if numbers:
                tracker.log({f"{kind}/{name}": value for name, value in numbers.items()}, step=step)

        yield put


@typed
@contextmanager
def tensorboard(folder: str | Path) -> Iterator[Report]:
    """Writes the numbers of each step as ``step/NAME``, and those of each epoch with its validation as ``epoch/NAME``.

    A resumed run goes on in the same folder where it was.

    Args:
        folder: where ``tensorboard --logdir`` will look.

    Yields: what ``fit`` takes as ``progress``; ``together`` joins it with a progress bar.
    Raises: ImportError if TensorBoard is not installed.
    """
    with _tensorboard_scalars(folder) as put:
        yield lambda at: put(*_curves(at))


@typed
@contextmanager
def mlflow(folder: str | Path, *, experiment: str = "robustlab") -> Iterator[Report]:
    """Writes the numbers of every tenth step and of each epoch to MLflow, through Accelerate, named as in TensorBoard.

    Where MLflow keeps them is for its own settings to say (``MLFLOW_TRACKING_URI``). A resumed run goes on in the
    MLflow run whose id is in the folder.

    Args:
        folder: of the run, whose name the MLflow run gets.
        experiment: that it is filed under.

    Yields: what ``fit`` takes as ``progress``; the MLflow run begins with its first step, and ends with the block.
    Raises: ImportError if MLflow is not installed.
    """
    with _mlflow_scalars(folder, experiment) as put:

        def show(at: Progress) -> None:
            kind, number, metrics = _curves(at)
            put(kind, number, metrics if kind == "epoch" or number % _EVERY == 0 else {})

        yield show


def _curves(at: Progress) -> tuple[str, int, dict[str, float]]:
    """What kind of curves a report goes on with, where, and with what."""
    if at.summary is None:
        return "step", int(at.done), dict(at.metrics)
    return "epoch", int(at.summary["epoch"]), dict(at.summary)


@typed
def together(*shows: Report) -> Report:
    """One callback that calls several, in their order."""

    def show(at: Progress) -> None:
        for one in shows:
            one(at)

    return show
