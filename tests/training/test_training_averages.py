"""Weights other than the last ones: averaged ones, and those of the best epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.training.places import place_of
from torch import nn

from robustlab.core import Metrics
from robustlab.data import InMemory
from robustlab.runs import Progress
from robustlab.training import Constant, Settings, fit, sgd, standard
from robustlab.training.update import copied

MakeNet = Callable[..., nn.Sequential]


class StoppedError(Exception):
    """The run is stopped from outside."""


def scripted(scores: Iterable[float]) -> Callable[[nn.Module], Metrics]:
    """A validation that returns one score after another."""
    left = iter(scores)
    return lambda _model: {"robust_accuracy": next(left)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_average_follows_its_formula_and_comes_back(squares: InMemory, make_net: MakeNet) -> None:
    settings = Settings(2, batch_size=10, optimizer=sgd(0.05), schedule=Constant())
    seen: list[dict[str, torch.Tensor]] = []
    model = make_net()
    start = copied(model)

    def watch(at: Progress) -> None:
        if at.summary is None:
            seen.append(copied(model))

    fit(model, standard(), squares, settings, progress=watch)
    averaged = make_net()
    fit(averaged, standard(), squares, Settings(**{**vars(settings), "average": 0.3}))
    assert len(seen) == 10
    for name, value in averaged.state_dict().items():
        expected = start[name].double()
        for updates, weights in enumerate(seen):
            kept = min(0.3, (1 + updates) / (10 + updates))
            expected = kept * expected + (1 - kept) * weights[name].double()
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, seen[-1][name])


def test_validation_sees_the_average_and_training_does_not(
    squares: InMemory, make_net: MakeNet, tmp_path: Path
) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def validate(model: nn.Module) -> Metrics:
        seen.append(copied(model))
        return {"n": len(seen)}

    plain, averaged = make_net(), make_net()
    fit(plain, standard(), squares, Settings(2))
    saved = fit(averaged, standard(), squares, Settings(2, average=0.9), out=tmp_path, validate=validate).checkpoint
    assert isinstance(saved, Path)
    assert same(load_file(saved / "model.safetensors"), copied(plain))
    assert same(load_file(saved / "average.safetensors"), copied(averaged))
    assert same(seen[-1], copied(averaged))
    assert not same(copied(plain), copied(averaged))


def test_the_weights_of_the_best_epoch_come_back(squares: InMemory, make_net: MakeNet, tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    scores = scripted([0.1, 0.5, 0.3, 0.5])

    def validate(model: nn.Module) -> Metrics:
        seen.append(copied(model))
        return scores(model)

    model = make_net()
    settings = Settings(4, best="robust_accuracy")
    history = fit(model, standard(), squares, settings, out=tmp_path, validate=validate)
    assert history.best == 2
    assert same(copied(model), seen[1])
    assert isinstance(history.checkpoint, Path)
    assert same(load_file(history.checkpoint / "best.safetensors"), seen[1])
    assert same(load_file(history.checkpoint / "model.safetensors"), seen[3])


@pytest.mark.parametrize(
    ("scores", "patience", "epochs"),
    [([0.1, 0.5, 0.4, 0.4, 0.9], 2, 4), ([0.1, 0.5, 0.4, 0.6, 0.5], 2, 5), ([0.3, 0.3, 0.9], 1, 2)],
)
def test_the_run_ends_when_nothing_gets_better(
    squares: InMemory, make_net: MakeNet, scores: list[float], patience: int, epochs: int
) -> None:
    settings = Settings(len(scores), best="robust_accuracy", patience=patience)
    assert len(fit(make_net(), standard(), squares, settings, validate=scripted(scores)).epochs) == epochs


def test_a_stopped_run_with_average_and_best_ends_like_an_uninterrupted_one(
    squares: InMemory, make_net: MakeNet, tmp_path: Path
) -> None:
    def validate(model: nn.Module) -> Metrics:
        return {"brightness": -abs(model.get_parameter("8.bias").sum().item())}

    def stop(at: Progress) -> None:
        if place_of(at) == (4, 2):
            raise StoppedError

    settings = Settings(6, batch_size=20, average=0.8, best="brightness", patience=3, resume=True)
    whole, again = make_net(), make_net(5)
    expected = fit(whole, standard(), squares, settings, out=tmp_path / "whole", validate=validate)
    with pytest.raises(StoppedError):
        fit(make_net(), standard(), squares, settings, out=tmp_path / "cut", validate=validate, progress=stop)
    history = fit(again, standard(), squares, settings, out=tmp_path / "cut", validate=validate)
    assert same(copied(whole), copied(again))
    assert history.best == expected.best
    assert history["validation_brightness"] == expected["validation_brightness"]
    assert history.checkpoint is not None
    assert expected.checkpoint is not None
    for name in ("model", "average", "best", "state"):
        file = f"{name}.safetensors"
        assert (history.checkpoint / file).read_bytes() == (expected.checkpoint / file).read_bytes()


def test_what_cannot_be_best_is_refused(squares: InMemory, make_net: MakeNet) -> None:
    with pytest.raises(ValueError, match="best='x' needs a validation that measures it: give validate"):
        fit(make_net(), standard(), squares, Settings(1, best="x"))
    with pytest.raises(
        ValueError, match=r"the validation returned .*'validation_y'.*, but best='x' needs validation_x"
    ):
        fit(make_net(), standard(), squares, Settings(1, best="x"), validate=lambda _: {"y": 1.0})
    with pytest.raises(ValueError, match=r"average is the decay .* in \(0, 1\), got 1\.0"):
        Settings(1, average=1.0)
    with pytest.raises(ValueError, match=r"patience counts epochs .* needs best: 3"):
        Settings(1, patience=3)
