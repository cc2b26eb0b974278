"""Models by name, from files, from Python paths; seeds; what does not fit."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from robustlab.core.errors import CheckpointError, DataError
from robustlab.models import BatchNormCNN, ShallowCNN, load, names, normalised, save
from robustlab.models.layers import Enlarge

SMALL_TIMM = "test_byobnet"


def equal(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(value, states[1][k]) for k, value in states[0].items()
    )


def test_small_models_come_by_name_in_eval_mode() -> None:
    assert isinstance(load("shallow-cnn"), ShallowCNN)
    model = load("batchnorm-cnn", classes=3, channels=3, size=32)
    assert isinstance(model, BatchNormCNN)
    assert not model.training
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 3)
    assert names()[:3] == ("shallow-cnn", "batchnorm-cnn", "residual-cnn")


@pytest.mark.parametrize("name", ["shallow-cnn", f"timm:{SMALL_TIMM}"])
def test_the_seed_decides_and_the_global_generator_is_untouched(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (load(name, classes=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(first, again)
    assert not equal(first, other)


@pytest.mark.parametrize("channels", [1, 3])
def test_timm_models_take_small_and_grey_images_in_pixel_units(channels: int) -> None:
    model = load(SMALL_TIMM, classes=5, channels=channels, size=28)
    x = torch.rand(2, channels, 28, 28)
    assert model(x).shape == (2, 5)
    assert [type(part).__name__ for part in model.children()][:2] == ["Enlarge", "Normalise"]
    inner = model.get_submodule("model")
    cfg = inner.pretrained_cfg
    mean, std = (torch.tensor(cfg[key]).view(-1, 1, 1)[:channels] for key in ("mean", "std"))  # type: ignore[index]
    shown = nn.functional.interpolate(x, size=(64, 64), mode="bilinear")
    if channels == 3:
        torch.testing.assert_close(model(x), inner((shown - mean) / std))


def test_a_network_of_fixed_size_gets_images_of_that_size() -> None:
    model = load("test_vit", classes=5, size=96)
    size = model.get_submodule("model").pretrained_cfg["input_size"][-1]  # type: ignore[index]
    side = model.get_submodule("enlarge").side if size != 96 else 96
    assert side == size
    assert model(torch.rand(1, 3, 96, 96)).shape == (1, 5)


def test_enlarging_a_constant_changes_nothing_else() -> None:
    torch.testing.assert_close(Enlarge(9)(torch.full((1, 2, 4, 4), 0.3)), torch.full((1, 2, 9, 9), 0.3))


def test_unknown_names_are_answered_with_close_ones() -> None:
    with pytest.raises(ValueError, match="no model is called 'resnt18'; did you mean resnet18"):
        load("resnt18")
    with pytest.raises(ValueError, match=r"no model is called 'batchnorm-cn'; did you mean batchnorm-cnn"):
        load("batchnorm-cn")
    with pytest.raises(ValueError, match=r"no model is called 'nosuch'; there are shallow-cnn, .*, timm:NAME, package"):
        load("nosuch")
    with pytest.raises(ValueError, match="no model is named"):
        load()


def test_weights_that_cannot_be_downloaded_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> nn.Module:
        raise OSError("Cannot reach the hub\nmany lines")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(DataError, match=r"weights of resnet18 cannot be downloaded .* Cannot reach the hub$"):
        load("resnet18")


def test_a_python_path_gives_the_users_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_models.py").write_text(
        "from torch import nn\ndef make(): return nn.Linear(2, 3)\nready = nn.Flatten()\ndef wrong(): return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert not load("their_models:make").training
    assert isinstance(load("their_models:ready"), nn.Flatten)
    with pytest.raises(ValueError, match="their_models:wrong returned a int, expected a torch module"):
        load("their_models:wrong")
    with pytest.raises(ValueError, match="no model at 'their_models:none'"):
        load("their_models:none")
    with pytest.raises(ValueError, match=r"no model at 'not.there:make': there is no module 'not' here"):
        load("not.there:make")


@pytest.mark.parametrize(
    "model",
    [
        load("shallow-cnn", classes=3, channels=2, size=20, seed=5),
        load(SMALL_TIMM, classes=5, channels=1, size=28, seed=5),
        normalised(load("batchnorm-cnn", seed=5), (0.25,), (0.5,)),
    ],
    ids=["small", "timm", "normalised"],
)
def test_a_saved_model_comes_back_from_its_file_alone(model: nn.Module, tmp_path: Path) -> None:
    save(model, tmp_path / "deep" / "model.safetensors", metadata={"note": "mine"})
    for found in (
        load(checkpoint=tmp_path / "deep" / "model.safetensors"),
        load(str(tmp_path / "deep/model.safetensors")),
    ):
        assert equal(found, model)
        assert found.architecture == model.architecture
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model.safetensors"]


def test_tied_weights_are_saved(tmp_path: Path) -> None:
    first, last = nn.Linear(3, 3), nn.Linear(3, 3)
    last.weight = first.weight
    save(nn.Sequential(first, last), tmp_path / "tied.safetensors")
    kept = load_file(tmp_path / "tied.safetensors")
    assert torch.equal(kept["0.weight"], first.weight)
    assert torch.equal(kept["1.weight"], first.weight)


def test_anybodys_state_dict_is_read_without_running_code(tmp_path: Path) -> None:
    model = load("shallow-cnn", seed=7)
    spread = {"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}
    torch.save(spread, tmp_path / "theirs.pt")
    assert equal(load("shallow-cnn", checkpoint=tmp_path / "theirs.pt"), model)
    with pytest.raises(CheckpointError, match=r"theirs.pt names no architecture: give its name"):
        load(checkpoint=tmp_path / "theirs.pt")


def test_weights_of_the_bare_network_fit_behind_the_normalisation(tmp_path: Path) -> None:
    whole = load(SMALL_TIMM, classes=5, channels=1, size=28, seed=7)
    save_file(whole.get_submodule("model").state_dict(), tmp_path / "bare.safetensors")
    again = load(SMALL_TIMM, classes=5, channels=1, size=28, seed=8, checkpoint=tmp_path / "bare.safetensors")
    assert equal(again, whole)


def test_another_architecture_is_refused_with_the_differences(tmp_path: Path) -> None:
    path = tmp_path / "shallow.safetensors"
    save(ShallowCNN(), path)
    with pytest.raises(CheckpointError) as seen:
        load("batchnorm-cnn", checkpoint=path)
    text = str(seen.value)
    assert "shallow.safetensors is of another architecture: it lacks features.1.weight" in text
    assert "it has besides features.0.bias" in text
    with pytest.raises(CheckpointError, match=re.escape("head.3.weight is (10, 256), not (7, 256)")):
        load("shallow-cnn", classes=7, checkpoint=path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("kept", [0, 100, 200_000])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, kept: int) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".pt":
        torch.save(ShallowCNN().state_dict(), path)
    else:
        save(ShallowCNN(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=rf"model{suffix} (is truncated or damaged|holds more than weights)"):
        load("shallow-cnn", checkpoint=path)


class Bomb:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))  # type: ignore[return-value]


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "went off"), protocol=2))
    with pytest.raises(CheckpointError, match=r"holds more than weights.*it is not unpickled"):
        load("shallow-cnn", checkpoint=tmp_path / "bomb.pt")
    assert not (tmp_path / "went off").exists()


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*none.pt"):
        load("shallow-cnn", checkpoint=tmp_path / "none.pt")
    torch.save({"epoch": 3}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"odd.pt does not hold a dictionary of tensors"):
        load("shallow-cnn", checkpoint=tmp_path / "odd.pt")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save(load("shallow-cnn", seed=1), path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match=r"model.safetensors cannot be written: .*No space left on device"):
        save(load("shallow-cnn", seed=2), path)
    assert equal(load(checkpoint=path), load("shallow-cnn", seed=1))
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_names_its_architecture(tmp_path: Path) -> None:
    from safetensors import safe_open

    save(ShallowCNN(classes=3), tmp_path / "model.safetensors", metadata={"epoch": "3"})
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["epoch"] == "3"
    assert json.loads(metadata["architecture"]) == {"name": "shallow-cnn", "classes": 3, "channels": 1, "size": 28}


def test_a_checkpoint_may_be_named_by_a_path(tmp_path: Path) -> None:
    model = load("shallow-cnn", seed=3)
    save(model, tmp_path / "weights.safetensors")
    for name in (tmp_path / "weights.safetensors", str(tmp_path / "weights.safetensors")):
        assert torch.equal(next(load(name).parameters()), next(model.parameters()))
