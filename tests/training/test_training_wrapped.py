"""Models inside torch.compile, DataParallel and similar: trained, kept, resumed and loaded as the model itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.places import place_of
from torch import Tensor, nn

from robustlab.core import CheckpointError
from robustlab.data import InMemory
from robustlab.models import load
from robustlab.runs import Progress
from robustlab.runs.identity import model_digest
from robustlab.training import Settings, adamw, fit, standard

Wrap = Callable[[nn.Module], nn.Module]
SETTINGS = Settings(epochs=2, batch_size=25, optimizer=adamw(0.01), average=0.5, resume=True)


def compiled(model: nn.Module) -> nn.Module:
    return cast(nn.Module, torch.compile(model, backend="eager"))


def inside(model: nn.Module) -> nn.Module:
    """A model that is wrapped, with a wrapped part."""
    model.features = nn.DataParallel(model.get_submodule("features"))
    return nn.DataParallel(model)


WRAPS: dict[str, Wrap] = {
    "not": lambda model: model,
    "compiled": compiled,
    "parallel": nn.DataParallel,
    "inside": inside,
}


def net() -> nn.Module:
    return load("batchnorm-cnn", classes=4, size=8, seed=1)


def stop(at: Progress) -> None:
    if place_of(at)[0] == 2:
        raise KeyboardInterrupt


def without_digests(checkpoint: Path) -> None:
    """Makes a checkpoint one of an older version, without digests of its files."""
    path = checkpoint / "state.json"
    path.write_text(
        json.dumps({k: value for k, value in json.loads(path.read_text()).items() if k not in ("files", "sha256")})
    )


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture
def plainly(squares: InMemory, tmp_path: Path) -> Path:
    """The files of the same run without any wrapper."""
    done = fit(net(), standard(), squares, SETTINGS, out=tmp_path / "plainly")
    return cast(Path, done.checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", WRAPS)
def test_a_wrapped_model_leaves_the_files_of_the_model(
    squares: InMemory, tmp_path: Path, plainly: Path, wrap: str
) -> None:
    done = fit(WRAPS[wrap](net()), standard(), squares, SETTINGS, out=tmp_path / "run")
    for name in ("model.safetensors", "average.safetensors"):
        found = load(str(cast(Path, done.checkpoint) / name))
        assert found.architecture == {"name": "batchnorm-cnn", "classes": 4, "channels": 1, "size": 8}
        assert same(found.state_dict(), load_file(plainly / name))


@pytest.mark.parametrize(
    ("before", "wrap"),
    [
        ("compiled", "compiled"),
        ("parallel", "parallel"),
        ("inside", "inside"),
        ("not", "compiled"),
        ("parallel", "not"),
    ],
)
def test_a_wrapped_model_goes_on(squares: InMemory, tmp_path: Path, plainly: Path, before: str, wrap: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(WRAPS[before](net()), standard(), squares, SETTINGS, out=tmp_path / "run", progress=stop)
    done = fit(WRAPS[wrap](net()), standard(), squares, SETTINGS, out=tmp_path / "run")
    assert same(load_file(cast(Path, done.checkpoint) / "model.safetensors"), load_file(plainly / "model.safetensors"))


def test_checkpoints_with_the_names_of_wrappers_are_read(squares: InMemory, tmp_path: Path, plainly: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(net()), standard(), squares, SETTINGS, out=tmp_path / "run", progress=stop)
    without_digests(tmp_path / "run" / "epoch-0001")
    for name in ("model.safetensors", "average.safetensors"):
        path = tmp_path / "run" / "epoch-0001" / name
        save_file({f"_orig_mod.{key}": value for key, value in load_file(path).items()}, path)
    done = fit(compiled(net()), standard(), squares, SETTINGS, out=tmp_path / "run")
    assert same(load_file(cast(Path, done.checkpoint) / "model.safetensors"), load_file(plainly / "model.safetensors"))


@pytest.mark.parametrize("wrap", ["compiled", "parallel"])
def test_weights_have_one_digest_in_any_wrapper(wrap: str) -> None:
    assert model_digest(WRAPS[wrap](net())) == model_digest(net())


class Counts(nn.Linear):
    """A model with state that is not a tensor."""

    def get_extra_state(self) -> object:
        return {"calls": [1, 2]}

    def set_extra_state(self, state: object) -> None:
        assert state == {"calls": [1, 2]}


def test_state_that_no_checkpoint_can_hold_is_refused_before_the_first_step(squares: InMemory, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), Counts(64, 4))
    before = model_digest(model)
    with pytest.raises(ValueError, match=r"the checkpoints would hold 1\._extra_state, which is a dict, not a tensor"):
        fit(model, standard(), squares, SETTINGS, out=tmp_path / "run")
    assert model_digest(model) == before
    fit(model, standard(), squares, SETTINGS)
    assert model_digest(model) != before


def test_a_model_without_values_is_refused(squares: InMemory) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4, device="meta"))
    with pytest.raises(ValueError, match=r"1\.weight of the model is on the meta device, without values"):
        fit(model, standard(), squares, SETTINGS)


def first(numbers: dict[str, object]) -> dict[str, object]:
    """The options of the first group."""
    return cast("list[dict[str, object]]", numbers["groups"])[0]


NUMBERS: dict[str, Callable[[dict[str, object]], object]] = {
    "a list": lambda n: [n],
    "nothing": lambda _: {},
    "another format": lambda n: {**n, "format": "os:abort"},
    "epochs in words": lambda n: {**n, "epochs": [{"loss": "os:abort"}]},
    "an epoch as a number": lambda n: {**n, "epochs": [3]},
    "no run": lambda n: {k: v for k, v in n.items() if k != "run"},
    "a run in numbers": lambda n: {**n, "run": {"model": 3}},
    "parameters": lambda n: {**n, "groups": [{"params": [0], "lr": 1.0}]},
    "no groups": lambda n: {**n, "groups": []},
    "other options": lambda n: {**n, "groups": [{"lr": 1.0, "hook": "os:abort"}]},
    "a rate in words": lambda n: {**n, "groups": [{**first(n), "lr": "x"}]},
    "betas in words": lambda n: {**n, "groups": [{**first(n), "betas": ["a", "b"]}]},
    "an object in a group": lambda n: {**n, "groups": [{"lr": {"a": 1}}]},
    "memory of nothing": lambda n: {**n, "values": {"x/step": 1}},
    "memory of others": lambda n: {**n, "values": {"99/step": 1}},
    "memory before the first": lambda n: {**n, "values": {"-1/step": 1}},
    "surroundings as a list": lambda n: {**n, "surroundings": ["torch"]},
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InMemory]:
    """A run that was stopped after its first epoch."""
    place = tmp_path_factory.mktemp("stopped")
    data = InMemory("squares", ("a", "b", "c", "d"), torch.rand(50, 1, 8, 8), torch.arange(50) % 4)
    with pytest.raises(KeyboardInterrupt):
        fit(_linear(), standard(), data, SETTINGS, out=place, progress=stop)
    without_digests(place / "epoch-0001")
    return place, data


def _linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))


def _refused(stopped: tuple[Path, InMemory], path: Path, content: bytes) -> None:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        with pytest.raises(CheckpointError, match="epoch-0001") as seen:
            fit(_linear(), standard(), stopped[1], SETTINGS, out=stopped[0])
        assert "\n" not in str(seen.value)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("what", NUMBERS)
def test_numbers_of_a_checkpoint_are_looked_at(stopped: tuple[Path, InMemory], what: str) -> None:
    path = stopped[0] / "epoch-0001" / "state.json"
    _refused(stopped, path, json.dumps(NUMBERS[what](json.loads(path.read_text()))).encode())


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b'{"a":' * 300 + b"1" + b"}" * 300, b"\xff\xfe", b"null"])
def test_numbers_that_are_no_json_are_damage(stopped: tuple[Path, InMemory], text: bytes) -> None:
    _refused(stopped, stopped[0] / "epoch-0001" / "state.json", text)


TENSORS: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "model.safetensors": lambda t: {**t, "1.weight": torch.zeros(4, 63)},
    "average.safetensors": lambda t: {**t, "1.bias": torch.zeros(1)},  # which would be broadcast
    "state.safetensors": lambda t: {**t, "optimizer/0/exp_avg": torch.zeros(9999)},
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_another_shape_are_refused(stopped: tuple[Path, InMemory], name: str) -> None:
    from safetensors.torch import save

    path = stopped[0] / "epoch-0001" / name
    _refused(stopped, path, save(TENSORS[name](load_file(path))))
    path.with_name("lacking").touch()
    _refused(stopped, path, save({"recipe/0/delta": torch.zeros(3)}))
