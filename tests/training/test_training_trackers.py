"""Curves in TensorBoard."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType

import pytest
from torch import nn

from robustlab.data import InMemory
from robustlab.training import Progress, Settings, fit, standard, tensorboard, together

MakeNet = Callable[..., nn.Sequential]


class Writer:
    """Stands for TensorBoard's writer, which need not be installed."""

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
            validate=lambda _: {"robust_accuracy": 0.25}, progress=together(told.append, show),
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
