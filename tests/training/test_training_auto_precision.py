"""Precision "auto": the faster one, which is reported, and kept by a run that is resumed on another processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.places import place_of
from torch import nn

from robustlab.core import Metrics
from robustlab.data import InMemory
from robustlab.runs import Progress, Report
from robustlab.training import (
    Plan,
    SelfTraining,
    Settings,
    cached_features,
    finetune,
    fit,
    pseudo_labels,
    self_train,
    sgd,
    standard,
)
from robustlab.training.settings import Precision

MakeNet = Callable[..., nn.Sequential]
AUTO = Settings(2, batch_size=25, optimizer=sgd(0.05), precision="auto", device="cpu", resume=True)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts the process on a processor where one precision is faster."""

    def move(faster: str) -> None:
        monkeypatch.setattr("robustlab.training.precision.bf16_is_faster", lambda _: faster == "bf16")

    return move


class StoppedError(Exception):
    """The run is stopped from outside."""


def stop_after_an_epoch(at: Progress) -> None:
    if place_of(at)[0] == 2:
        raise StoppedError


@pytest.mark.parametrize(("faster", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_what_is_faster_is_taken_and_told(
    squares: InMemory, make_net: MakeNet, processor: Callable[[str], None], faster: Precision, dtype: torch.dtype,
    tmp_path: Path,
) -> None:  # fmt: skip
    processor(faster)
    seen: list[torch.dtype] = []
    model = make_net()
    handle = model[0].register_forward_hook(lambda _part, _inputs, output: seen.append(output.dtype))
    history = fit(model, standard(), squares, replace(AUTO, epochs=1), out=tmp_path)
    handle.remove()
    assert seen[-1] == dtype
    assert history.precision == faster
    state = json.loads((tmp_path / "epoch-0001" / "state.json").read_text())
    assert state["run"]["precision"] == repr(faster)


@pytest.mark.parametrize(("before", "after"), [("bf16", "fp32"), ("fp32", "bf16")])
def test_a_resumed_run_keeps_what_it_took_and_its_bits(
    squares: InMemory, make_net: MakeNet, processor: Callable[[str], None], tmp_path: Path, before: str, after: str
) -> None:
    processor(before)
    whole = make_net()
    fit(whole, standard(), squares, AUTO)
    with pytest.raises(StoppedError):
        fit(make_net(), standard(), squares, AUTO, out=tmp_path, progress=stop_after_an_epoch)
    processor(after)
    resumed = make_net()
    assert fit(resumed, standard(), squares, AUTO, out=tmp_path).precision == before
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_run_of_a_given_precision_goes_on_as_it_is(
    squares: InMemory, make_net: MakeNet, processor: Callable[[str], None], tmp_path: Path
) -> None:
    processor("bf16")
    fit(make_net(), standard(), squares, replace(AUTO, epochs=1, precision="fp32"), out=tmp_path / "short")
    fit(make_net(), standard(), squares, replace(AUTO, precision="fp32"), out=tmp_path / "long")
    assert fit(make_net(), standard(), squares, AUTO, out=tmp_path / "long").precision == "fp32"


def test_features_and_pseudo_labels_keep_what_they_were_made_in(
    squares: InMemory, make_net: MakeNet, processor: Callable[[str], None], tmp_path: Path
) -> None:
    made = []
    for here in ("bf16", "fp32"):
        processor(here)
        features = cached_features(make_net(), squares, tmp_path / "features", AUTO)
        labels = pseudo_labels(make_net(), squares, squares.classes, tmp_path / "labels", AUTO)
        made.append((features.sha256, features.x, labels.probs, labels.provenance["precision"]))
    assert made[0][0] == made[1][0]
    assert torch.equal(made[0][1], made[1][1])
    assert torch.equal(made[0][2], made[1][2])
    assert made[0][3] == made[1][3] == "bf16"
    assert len(list((tmp_path / "features").iterdir())) == 1


def test_runs_of_several_stages_go_on_elsewhere(
    squares: InMemory, make_net: MakeNet, processor: Callable[[str], None], tmp_path: Path
) -> None:
    def stop(at: Progress) -> None:
        if at.task in ("head", "round-1/student") and place_of(at)[0] == 2:
            raise StoppedError

    def tuned(progress: Report | None = None) -> Metrics:
        plan = Plan(head=AUTO, body=replace(AUTO, epochs=1))
        done = finetune(make_net(), standard(), squares, plan, out=tmp_path / "tuned", progress=progress)
        assert done.head
        return done.head.epochs[-1]

    def taught(progress: Report | None = None) -> str:
        plan = SelfTraining(AUTO, rounds=1, noise=None, threshold=0.0)
        nets = {0: make_net(), 1: make_net()}
        done = self_train(nets.__getitem__, squares, squares, plan, out=tmp_path / "taught", progress=progress)
        return done.rounds[0].student.precision

    processor("bf16")
    for run in (tuned, taught):
        with pytest.raises(StoppedError):
            run(stop)
    processor("fp32")
    assert tuned()["epoch"] == 2
    assert taught() == "bf16"
