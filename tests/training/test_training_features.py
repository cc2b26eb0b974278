"""Features of a frozen network: those of the forward pass, kept, resumed, and never outdated."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import DataError, RunError
from robustlab.data import InMemory, examples
from robustlab.runs import Progress
from robustlab.training import Settings, cached_features

MakeNet = Callable[..., nn.Sequential]
WAY = Settings(1, device="cpu")


def steps_of(net: nn.Module, data: object, folder: Path, settings: Settings = WAY) -> int:
    """Number of batches that were computed."""
    steps: list[Progress] = []
    cached_features(net, examples(data), folder, settings, progress=steps.append)  # type: ignore[arg-type]
    return len(steps)


def test_features_are_what_reaches_the_head_in_eval_mode(make_net: MakeNet, squares: InMemory, tmp_path: Path) -> None:
    net = make_net()
    net[1].get_buffer("running_mean").add_(0.5)
    net[4].eval()
    modes = [part.training for part in net.modules()]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = cached_features(net, squares, tmp_path, WAY)
    assert [part.training for part in net.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    with torch.no_grad():
        expected = net.eval()[:8](squares.batch(torch.arange(50)).x)
    torch.testing.assert_close(found.x, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.y, squares.y)
    batch = found.batch(torch.tensor([7, 3]))
    torch.testing.assert_close(batch.x, expected[[7, 3]], rtol=0, atol=1e-6)
    assert (batch.y.tolist(), batch.ids.tolist()) == (squares.y[[7, 3]].tolist(), [7, 3])
    assert (found.classes, len(found)) == (squares.classes, 50)


def test_what_is_written_to_features_does_not_reach_the_disk(
    make_net: MakeNet, squares: InMemory, tmp_path: Path
) -> None:
    cached_features(make_net(), squares, tmp_path, WAY).x.zero_()
    assert cached_features(make_net(), squares, tmp_path, WAY).x.abs().sum() > 0


def test_features_are_made_once_and_again_where_weights_data_or_size_change(
    make_net: MakeNet, squares: InMemory, tmp_path: Path
) -> None:
    net = make_net()
    assert [steps_of(net, squares, tmp_path) for _ in range(2)] == [1, 0]
    with torch.no_grad():
        net[-1].get_parameter("weight").add_(1.0)
    assert steps_of(net, squares, tmp_path) == 0, "the head is no part of it"
    net[1].get_buffer("running_var").add_(1.0)
    assert steps_of(net, squares, tmp_path) == 1
    changed = InMemory(squares.name, squares.classes, squares.x.clone(), squares.y)
    changed.x[49, 0, 7, 7] += 1
    assert steps_of(net, changed, tmp_path) == 1
    assert steps_of(net, InMemory("squares", squares.classes, squares.x, squares.y.flip(0)), tmp_path) == 1
    smaller = InMemory(squares.name, squares.classes, squares.x[:49], squares.y[:49])
    assert steps_of(net, smaller, tmp_path) == 1
    assert steps_of(net, squares, tmp_path, Settings(1, device="cpu", precision="bf16")) == 1
    assert len(list(tmp_path.iterdir())) == 6
    assert steps_of(net, squares, tmp_path) == 0


class Scaled(nn.Module):
    """A model with a number that is in neither its weights nor its name."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def test_what_no_hash_sees_is_seen_in_the_features_themselves(
    squares: InMemory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    linear = nn.Linear(64, 4)
    nets = [nn.Sequential(Scaled(factor), nn.Flatten(), linear) for factor in (1.0, 2.0)]
    assert steps_of(nets[0], squares, tmp_path) == 1
    with caplog.at_level(logging.WARNING):
        assert steps_of(nets[1], squares, tmp_path) == 1
    assert "does not hold the features of squares under this model: they are computed again" in caplog.text
    assert len(list(tmp_path.iterdir())) == 1
    found = cached_features(nets[1], squares, tmp_path, WAY).x
    torch.testing.assert_close(found, 2 * squares.batch(torch.arange(50)).x.flatten(1))


@pytest.mark.parametrize("damage", ["rows.json", "x.f32", "y.i64"])
def test_a_damaged_cache_is_made_anew(make_net: MakeNet, squares: InMemory, tmp_path: Path, damage: str) -> None:
    expected = cached_features(make_net(), squares, tmp_path, WAY).x.clone()
    (file,) = tmp_path.glob(f"*/{damage}")
    file.write_bytes(file.read_bytes()[:-9])
    assert steps_of(make_net(), squares, tmp_path) == 1
    torch.testing.assert_close(cached_features(make_net(), squares, tmp_path, WAY).x, expected)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    program = Path(__file__).with_name("killed_features.py")
    done = subprocess.run([sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"kept": [128, 192], "made": 1, "right": True}


def test_data_that_change_when_read_again_are_refused(make_net: MakeNet, tmp_path: Path) -> None:
    class Random:
        classes = ("a", "b", "c", "d")

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return torch.rand(1, 8, 8), index % 4

    with pytest.raises(DataError, match="Random gives other inputs each time it is read, or the model is random"):
        cached_features(make_net(), examples(Random()), tmp_path, WAY)


def test_a_model_that_does_more_after_its_head_is_refused(squares: InMemory, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Softmax(dim=1))
    with pytest.raises(ValueError, match=r"the last layers with weights \(Linear\) are not the last step of the"):
        cached_features(net, squares, tmp_path, WAY)


def test_a_folder_that_cannot_be_written_is_named(make_net: MakeNet, squares: InMemory, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/.* cannot be written to .*Not a directory"):
        cached_features(make_net(), squares, tmp_path / "file", WAY)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
