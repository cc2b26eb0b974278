"""Data that is not in memory: read by other processes, to the same weights."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from tests.training.places import place_of
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from robustlab.core import DataError, Examples
from robustlab.data import InMemory, examples, sample
from robustlab.data.folder import image_folder
from robustlab.data.framing import Framing
from robustlab.runs import Progress
from robustlab.training import Settings, fit, sgd, standard
from robustlab.training.stream import Reader, fetched

MakeNet = Callable[..., nn.Sequential]
MORE_THAN_CORES = pytest.mark.filterwarnings("ignore:This DataLoader will create .* worker processes")
"""torch's advice where a test takes more workers than there are cores."""
WAY = Settings(2, batch_size=12, optimizer=sgd(0.05), accumulate=2, resume=True)


class StoppedError(Exception):
    """The run is stopped from outside."""


@dataclass(frozen=True)
class Shifting:
    """A torch data set whose images are shifted at random when they are read, with draws from all generators."""

    inside: InMemory
    crash: Callable[[], object] | None = None
    """Called in a worker before it reads number 7."""
    fault: Exception | None = None
    """Raised where number 7 is read."""

    classes = ("a", "b", "c", "d")

    def __len__(self) -> int:
        return len(self.inside)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        if number == 7 and self.crash is not None and get_worker_info() is not None:
            self.crash()
        if number == 7 and self.fault is not None:
            raise self.fault
        shift = int(torch.randint(3, ())) + random.randrange(3) + int(np.random.randint(3))  # noqa: NPY002
        return self.inside.x[number].roll(shift, -1), int(self.inside.y[number])


def trained(net: nn.Module, data: Examples, way: Settings, out: Path | None = None) -> list[bytes]:
    """The weights to the bit."""
    fit(net, standard(), data, way, out=out)
    return [value.contiguous().numpy().tobytes() for value in net.state_dict().values()]


@pytest.fixture
def shifting(squares: InMemory) -> Examples:
    return examples(Shifting(squares), name="shifting")


@pytest.fixture
def photos(squares: InMemory, tmp_path: Path) -> Examples:
    """The same images in a folder for each class."""
    for number, (x, y) in enumerate(zip(squares.x, squares.y.tolist(), strict=True)):
        folder = tmp_path / "photos" / squares.classes[y]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[0].numpy()).save(folder / f"{number:02}.png")
    found = image_folder(tmp_path / "photos")
    assert isinstance(found.framing, Framing)
    return replace(found, framing=replace(found.framing, channels=1))


@pytest.mark.slow
@MORE_THAN_CORES
@pytest.mark.parametrize("kind", ["shifting", "photos"])
def test_weights_are_the_same_with_any_number_of_workers(
    kind: str, make_net: MakeNet, request: pytest.FixtureRequest
) -> None:
    data: Examples = request.getfixturevalue(kind)
    alone = trained(make_net(), data, WAY)
    assert trained(make_net(), data, replace(WAY, workers=2)) == alone
    assert trained(make_net(), sample(data, 50), replace(WAY, workers=1)) == alone, "a part of it, all of it"


def test_what_an_item_draws_follows_seed_and_id_alone(shifting: Examples) -> None:
    state = torch.get_rng_state(), random.getstate()
    ids = torch.tensor([3, 9, 30, 8, 1, 44])
    whole = fetched(shifting, ids, seed=5)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    assert torch.equal(fetched(shifting, ids[[4, 1]], seed=5).x, whole.x[[4, 1]])
    assert torch.equal(whole.ids, ids)
    assert not torch.equal(fetched(shifting, ids, seed=6).x, whole.x)


@pytest.mark.slow
@MORE_THAN_CORES
def test_a_stopped_run_goes_on_with_other_workers_to_the_same_bits(
    shifting: Examples, make_net: MakeNet, tmp_path: Path
) -> None:
    def stop(at: Progress) -> None:
        if place_of(at) == (2, 3):
            raise StoppedError

    whole = trained(make_net(), shifting, WAY)
    with pytest.raises(StoppedError):
        fit(make_net(), standard(), shifting, replace(WAY, workers=2), out=tmp_path, progress=stop)
    assert trained(make_net(seed=9), shifting, WAY, tmp_path) == whole


@pytest.mark.parametrize("again", range(5))
def test_a_worker_that_is_killed_is_told_in_one_sentence(
    squares: InMemory, make_net: MakeNet, tmp_path: Path, again: int
) -> None:
    """By a signal, or by a connection that breaks off: which of them comes first is a matter of luck."""
    del again
    data = examples(Shifting(squares, crash=lambda: os.kill(os.getpid(), signal.SIGKILL)), name="shifting")
    found = r"^a process that reads shifting ended unexpectedly \(DataLoader worker .*\): check the free memory, or "
    with pytest.raises(DataError, match=found + r"set workers=0 to read in this process; no epoch was complete$"):
        fit(make_net(), standard(), data, replace(WAY, workers=1), out=tmp_path)


def test_a_dead_worker_is_not_reported_again_while_its_iterator_is_held(shifting: Examples) -> None:
    reader = Reader(shifting, 1, torch.device("cpu"))
    held: Any = None

    def read() -> None:
        nonlocal held
        for _ in reader.read([torch.arange(4)] * 40, 0):
            if held is None:
                held = cast("Any", reader._reading)
                os.kill(held._workers[0].pid, signal.SIGKILL)

    with pytest.raises(DataError, match="ended unexpectedly"), reader.watched():
        read()
    assert held._shutdown
    assert not held._worker_pids_set


@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_read_is_told_as_without_workers(squares: InMemory, make_net: MakeNet, workers: int) -> None:
    data = examples(Shifting(squares, fault=OSError("no such sector")), name="shifting")
    found = r"^shifting has 50 examples by its length, but number 7 is missing \(OSError: no .*; no epoch was"
    with pytest.raises(DataError, match=found):
        fit(make_net(), standard(), data, replace(WAY, workers=workers))


@MORE_THAN_CORES
def test_who_gets_workers(squares: InMemory, shifting: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("mps")
    assert Reader(squares, 4, cpu).workers == 0
    assert Reader(sample(squares, 20), 4, cpu).workers == 0
    assert Reader(shifting, None, cpu).workers == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(3)), raising=False)
    assert Reader(shifting, None, gpu).workers == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert Reader(shifting, None, gpu).workers == 1
    with pytest.raises(ValueError, match="workers must be 0 or more, got -1"):
        Settings(1, workers=-1)


class _Interrupted:
    """Data whose name cannot be read the first times, since the signal of a dead worker comes again."""

    def __init__(self, times: int) -> None:
        self.times = times

    @property
    def name(self) -> str:
        self.times -= 1
        if self.times >= 0:
            raise RuntimeError("DataLoader worker (pid 2) is killed by signal: Killed.")
        return "photos"


@pytest.mark.parametrize("again", [0, 1])
def test_a_dead_worker_is_named_where_its_signal_comes_again(squares: InMemory, again: int) -> None:
    reader = Reader(squares, 0, torch.device("cpu"))
    reader.examples = cast("Examples", _Interrupted(again))
    found = r"^a process that reads photos ended unexpectedly \(DataLoader worker \(pid"
    with pytest.raises(DataError, match=found), reader.watched():
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")


def test_other_errors_of_a_step_are_not_the_workers(squares: InMemory) -> None:
    with pytest.raises(RuntimeError, match=r"^out of memory$"), Reader(squares, 0, torch.device("cpu")).watched():
        raise RuntimeError("out of memory")


def test_training_refuses_nan_in_a_torch_data_set_by_the_number_of_its_example() -> None:
    x = torch.rand(12, 1, 8, 8)
    x[7, 0, 2, 2] = torch.nan
    pairs = examples([(one, number % 4) for number, one in enumerate(x)], classes=4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(ValueError, match="inputs hold NaN or infinity, the first is number 7"):
        fit(model, standard(), pairs, Settings(epochs=1, batch_size=4))
