"""The loss scaler of fp16: overflowing updates are left out, and a resumed run keeps the scale."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from tests.training.places import place_of
from torch import Tensor, nn

from robustlab.core import Batch, Metrics, RecipeState
from robustlab.data import InMemory
from robustlab.runs import Progress
from robustlab.training import Settings, fit, sgd, standard
from robustlab.training.update import copied

MakeNet = Callable[..., nn.Sequential]


class StoppedError(Exception):
    """The run is stopped from outside."""


@dataclass(frozen=True)
class Loud:
    """Standard training whose gradients overflow in fp16 in the second of each five updates."""

    replays: ClassVar[int] = 1

    def init(self, model: nn.Module) -> RecipeState:
        del model
        return {"updates": torch.zeros((), dtype=torch.int64)}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Callable[[Tensor], None]) -> Metrics:
        state["updates"] += 1
        factor = 1e5 if int(state["updates"]) % 5 == 2 else 1.0
        return standard().step(model, batch, state, lambda loss: backward(loss * factor))


def scaler(folder: Path, epoch: int) -> dict[str, float]:
    found: dict[str, float] = json.loads((folder / f"epoch-{epoch:04}" / "state.json").read_text())["scaler"]
    return found


def test_an_update_that_overflows_is_left_out_and_the_scale_is_resumed(
    squares: InMemory, make_net: MakeNet, tmp_path: Path
) -> None:
    way = Settings(3, batch_size=10, optimizer=sgd(0.05), clip=1.0, precision="fp16", resume=True)
    seen: list[Tensor] = []
    model = make_net()

    def watch(at: Progress) -> None:
        if at.summary is None:
            seen.append(copied(model)["8.weight"])

    def stop(at: Progress) -> None:
        if place_of(at) == (3, 4):
            raise StoppedError

    fit(model, Loud(), squares, way, out=tmp_path / "whole", progress=watch)
    still = [number for number in range(1, 15) if torch.equal(seen[number], seen[number - 1])]
    assert still == [1, 6, 11]
    assert scaler(tmp_path / "whole", 2)["scale"] == 2.0**14
    assert scaler(tmp_path / "whole", 2)["_growth_tracker"] == 3
    with pytest.raises(StoppedError):
        fit(make_net(), Loud(), squares, way, out=tmp_path / "cut", progress=stop)
    again = make_net(seed=9)
    fit(again, Loud(), squares, way, out=tmp_path / "cut")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())
    assert scaler(tmp_path / "cut", 3) == scaler(tmp_path / "whole", 3)
