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
"""MLflow writes to a database each time, so it gets every tenth step, and all epochs."""


@typed
@contextmanager
def trackers(folder: str | Path) -> Iterator[Report]:
    """Writes the numbers of a run to TensorBoard and MLflow, if installed.

    Args:
        folder: of the run; TensorBoard's files go to ``tensorboard`` in it.

    Yields: a callback for ``progress`` of ``fit``; it does nothing if neither is installed, and in all processes but
        the first of a distributed training.
    """
    with ExitStack() as stack:
        shows: list[Report] = []
        if launched().first and _installed("tensorboard"):
            shows.append(stack.enter_context(tensorboard(Path(folder) / "tensorboard")))
        if launched().first and _installed("mlflow"):
            shows.append(stack.enter_context(mlflow(folder)))
        yield combined(*shows)


def _installed(package: str) -> bool:
    """True if a package can be imported; it is not imported."""
    return sys.modules[package] is not None if package in sys.modules else find_spec(package) is not None


@contextmanager
def scalars(folder: str | Path) -> Iterator[Put]:
    """Writes single numbers to TensorBoard and MLflow, if installed.

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

    A resumed run continues in the same folder.

    Args:
        folder: the argument of ``tensorboard --logdir``.

    Yields: a callback for ``progress`` of ``fit``; ``combined`` joins it with a progress bar.
    Raises: ImportError if TensorBoard is not installed.
    """
    with _tensorboard_scalars(folder) as put:
        yield lambda at: put(*_curves(at))


@typed
@contextmanager
def mlflow(folder: str | Path, *, experiment: str = "robustlab") -> Iterator[Report]:
    """Writes the numbers of every tenth step and of each epoch to MLflow, through Accelerate, named as in TensorBoard.

    MLflow's own settings (``MLFLOW_TRACKING_URI``) decide its place. A resumed run continues the MLflow run whose id is
    in the folder.

    Args:
        folder: of the run; the MLflow run has its name.
        experiment: name of the MLflow experiment.

    Yields: a callback for ``progress`` of ``fit``; the MLflow run begins with its first step, and ends with the block.
    Raises: ImportError if MLflow is not installed.
    """
    with _mlflow_scalars(folder, experiment) as put:

        def show(at: Progress) -> None:
            kind, number, metrics = _curves(at)
            put(kind, number, metrics if kind == "epoch" or number % _EVERY == 0 else {})

        yield show


def _curves(at: Progress) -> tuple[str, int, dict[str, float]]:
    """Kind of curves, place on them and numbers of a report."""
    if at.summary is None:
        return "step", int(at.done), dict(at.metrics)
    return "epoch", int(at.summary["epoch"]), dict(at.summary)


@typed
def combined(*shows: Report) -> Report:
    """A callback that calls several in their order."""

    def show(at: Progress) -> None:
        for one in shows:
            one(at)

    return show
