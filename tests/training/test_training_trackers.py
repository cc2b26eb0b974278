"""Curves in TensorBoard and MLflow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace, TracebackType

import pytest
from torch import nn

from robustlab.data import InMemory
from robustlab.runs import Progress
from robustlab.training import (
    DivergedError,
    Settings,
    combined,
    fit,
    mlflow,
    sgd,
    standard,
    tensorboard,
    trackers,
)

MakeNet = Callable[..., nn.Sequential]


class Writer:
    """A stand-in for TensorBoard's writer, which need not be installed."""

    written: list[tuple[str, float, int]]
    closed: bool

    def __init__(self, folder: str) -> None:
        self.folder = folder
        Writer.written, Writer.closed = [], False

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        Writer.closed = True

    def add_scalar(self, name: str, value: float, place: int) -> None:
        self.written.append((name, value, place))


def test_steps_and_epochs_become_curves(
    squares: InMemory, make_net: MakeNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    told: list[Progress] = []
    with tensorboard(tmp_path) as show:
        history = fit(
            make_net(), standard(), squares, Settings(2, batch_size=25),
            validate=lambda _: {"robust_accuracy": 0.25}, progress=combined(told.append, show),
        )  # fmt: skip
    assert Writer.closed
    losses = [(value, place) for name, value, place in Writer.written if name == "step/loss"]
    assert losses == [
        (at.metrics["loss"], number) for number, at in zip((1, 2, 3, 4), told[:2] + told[3:5], strict=True)
    ]
    epochs = [(value, place) for name, value, place in Writer.written if name == "epoch/loss"]
    assert epochs == list(zip(history["loss"], (1, 2), strict=True))
    assert ("epoch/validation_robust_accuracy", 0.25, 2) in Writer.written


def test_without_tensorboard_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with (
        pytest.raises(ImportError, match="TensorBoard is not installed: pip install tensorboard"),
        tensorboard(tmp_path),
    ):
        pass


class Board(ModuleType):
    """A stand-in for MLflow, which need not be installed: the part of its API that Accelerate's tracker uses."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.experiments: list[str] = []
        self.runs: list[tuple[str, str | None]] = []
        self.logged: list[tuple[dict[str, float], int]] = []
        self.ended: list[bool] = []

    def search_experiments(self, filter_string: str) -> list[SimpleNamespace]:
        found = [name for name in self.experiments if filter_string == f"name = '{name}'"]
        return [SimpleNamespace(experiment_id=self.experiments.index(name)) for name in found]

    def create_experiment(self, name: str, **_options: object) -> int:
        self.experiments.append(name)
        return len(self.experiments) - 1

    def start_run(self, run_id: str | None, experiment_id: int, run_name: str, **_options: object) -> ExitStack:
        self.runs.append((f"{self.experiments[experiment_id]}/{run_name}", run_id))
        run = ExitStack()
        run.push(lambda kind, _error, _trace: self.ended.append(kind is None))
        run.info = SimpleNamespace(run_id=run_id or "a1b2")  # type: ignore[attr-defined]
        return run

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.logged.append((metrics, step))


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    made = Board()
    monkeypatch.setitem(sys.modules, "mlflow", made)
    return made


def test_mlflow_gets_epochs_and_every_tenth_step_and_goes_on_in_the_same_run(
    squares: InMemory, make_net: MakeNet, tmp_path: Path, board: Board
) -> None:
    from accelerate.state import PartialState

    before = dict(PartialState._shared_state)
    out = tmp_path / "run"
    with mlflow(out) as show:
        history = fit(make_net(), standard(), squares, Settings(3, batch_size=10), progress=show)
    assert [step for metrics, step in board.logged if "step/loss" in metrics] == [10]
    epochs = [(metrics["epoch/loss"], step) for metrics, step in board.logged if "epoch/loss" in metrics]
    assert epochs == list(zip(history["loss"], (1, 2, 3), strict=True))
    with pytest.raises(DivergedError), mlflow(out) as show:
        fit(make_net(), standard(), squares, Settings(1, optimizer=sgd(1e30), batch_size=10), progress=show)
    assert board.runs == [("robustlab/run", None), ("robustlab/run", "a1b2")]
    assert board.ended == [True, False]
    assert board.experiments == ["robustlab"]
    assert dict(PartialState._shared_state) == before, "Accelerate is as it was"


def test_trackers_are_those_that_are_installed_and_of_the_first_process(
    squares: InMemory, make_net: MakeNet, tmp_path: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setitem(sys.modules, "tensorboard", module)
    with trackers(tmp_path) as show:
        fit(make_net(), standard(), squares, Settings(2, batch_size=10), progress=show)
    assert len([name for name, _, _ in Writer.written if name == "step/loss"]) == 10
    assert [step for _, step in board.logged] == [1, 10, 2]
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with trackers(tmp_path) as show:
        fit(make_net(), standard(), squares, Settings(1), progress=show)
    assert len(board.logged) == 4
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with trackers(tmp_path) as show:
        show(Progress("train", 10, 10, metrics={"loss": 0.5}))
    assert len(board.logged) == 4
    assert len([name for name, _, _ in Writer.written if name == "step/loss"]) == 10


def test_without_mlflow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match="MLflow is not installed: pip install mlflow"), mlflow(tmp_path):
        pass


def test_single_numbers_go_to_both_and_leave_accelerate_as_it_was(
    tmp_path: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.state import PartialState

    from robustlab.training.trackers import scalars

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setitem(sys.modules, "tensorboard", module)
    before = dict(PartialState._shared_state)
    (tmp_path / "run").mkdir()
    with scalars(tmp_path / "run") as put:
        put("evaluate", 0, {"robust_accuracy": 0.5, "eps": 0.1})
    assert ("evaluate/robust_accuracy", 0.5, 0) in Writer.written
    assert board.logged == [({"evaluate/robust_accuracy": 0.5, "evaluate/eps": 0.1}, 0)]
    assert dict(PartialState._shared_state) == before
