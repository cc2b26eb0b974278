"""Checkpoints are valid only with the files that were written with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

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


def test_a_checkpoint_of_before_digests_is_read(squares: InMemory, make_net: MakeNet, two_epochs: Path) -> None:
    numbers = two_epochs / "epoch-0002" / "state.json"
    held = json.loads(numbers.read_text())
    del held["files"]
    numbers.write_text(json.dumps(held))
    assert fit(make_net(), standard(), squares, Settings(3, resume=True), out=two_epochs)["epoch"] == [1, 2, 3]
