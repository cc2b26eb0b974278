"""Checkpoints are valid only with the files that were written with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.training.places import place_of
from torch import nn

from robustlab.core import CheckpointError
from robustlab.data import InMemory
from robustlab.runs import Progress
from robustlab.training import Settings, fit, standard

MakeNet = Callable[..., nn.Sequential]


@pytest.fixture
def two_epochs(squares: InMemory, make_net: MakeNet, tmp_path: Path) -> Path:
    """A run of three epochs that stopped after two."""

    def stop(at: Progress) -> None:
        if place_of(at)[0] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(make_net(), standard(), squares, Settings(3), out=tmp_path, progress=stop)
    return tmp_path


@pytest.mark.parametrize("file", ["model.safetensors", "state.safetensors"])
@pytest.mark.parametrize("how", ["changed", "of another run", "gone"])
def test_a_file_that_was_not_written_with_the_checkpoint_is_refused(
    squares: InMemory, make_net: MakeNet, two_epochs: Path, file: str, how: str
) -> None:
    path = two_epochs / "epoch-0002" / file
    if how == "gone":
        path.unlink()
    elif how == "of another run":
        path.write_bytes((two_epochs / "epoch-0001" / file).read_bytes())
    else:
        held = bytearray(path.read_bytes())
        held[-3] ^= 1
        path.write_bytes(bytes(held))
    message = rf"epoch-0002 is truncated or damaged \({file} has another digest .*\): remove it to resume from"
    with pytest.raises(CheckpointError, match=message):
        fit(make_net(), standard(), squares, Settings(3, resume=True), out=two_epochs)


CHANGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "a loss": lambda n: n["epochs"][0].update(loss=0.1),
    "a learning rate": lambda n: n["groups"][0].update(lr=0.2),
    "the recipe": lambda n: n["run"].update(recipe="Standard(smoothing=0.5)"),
    "the version of torch": lambda n: n["surroundings"].update(torch="1.0"),
    "one epoch less": lambda n: n["epochs"].pop(),
    "no digests of files": lambda n: n.pop("files"),
    "a digest of the model": lambda n: n["models"].update({"model.safetensors": "v2:0"}),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_number_that_was_changed_by_hand_is_noticed(
    squares: InMemory, make_net: MakeNet, two_epochs: Path, what: str
) -> None:
    numbers = two_epochs / "epoch-0002" / "state.json"
    held = json.loads(numbers.read_text())
    CHANGED[what](held)
    numbers.write_text(json.dumps(held))
    with pytest.raises(CheckpointError, match=r"damaged \(state.json has another digest than when it was written\)"):
        fit(make_net(), standard(), squares, Settings(3, resume=True), out=two_epochs)


def test_a_checkpoint_of_before_digests_is_read(squares: InMemory, make_net: MakeNet, two_epochs: Path) -> None:
    numbers = two_epochs / "epoch-0002" / "state.json"
    held = json.loads(numbers.read_text())
    del held["files"], held["sha256"]
    numbers.write_text(json.dumps(held))
    assert fit(make_net(), standard(), squares, Settings(3, resume=True), out=two_epochs)["epoch"] == [1, 2, 3]
