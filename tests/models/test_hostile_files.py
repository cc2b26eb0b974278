"""Weight files of strangers: nothing that they name is imported, called, opened or fetched; one sentence says so."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustlab.core.errors import CheckpointError
from robustlab.models import ShallowCNN, load, save

PLAIN = {"name": "shallow-cnn", "classes": 10, "channels": 1, "size": 28}


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """Modules that can be imported and record that they were, under names that files of these tests give."""
    place, sign = tmp_path / "modules", tmp_path / "sang"
    place.mkdir()
    program = f"import pathlib\npathlib.Path({str(sign)!r}).touch()\ndef make(*_, **__):\n    return 1\n"
    for name in ("canary", "os_canary"):
        (place / f"{name}.py").write_text(program)
    monkeypatch.syspath_prepend(place)
    monkeypatch.setattr("timm.create_model", lambda *_, **__: sign.touch())
    yield sign.exists
    assert not sign.exists()
    assert not {"canary", "os_canary"} & set(sys.modules)


def weights() -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in ShallowCNN().state_dict().items()}


def file_with(place: Path, text: str | dict[str, object]) -> Path:
    """A sound weight file with these words on its architecture."""
    path = place / "theirs.safetensors"
    save_file(weights(), path, metadata={"architecture": text if isinstance(text, str) else json.dumps(text)})
    return path


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize(
    "name",
    [
        "canary:make",
        "canary.deeper:make",
        "os:abort",
        "os_canary:make",
        "builtins:exec",
        "timm:canary:make",
        "timm:hf-hub:canary/model",
        "hf-hub:canary/model",
        "hf_hub:canary/model",
        "local-dir:/tmp/canary",
        "timm:local-dir:.",
        "https://example.com/canary",
        "../canary",
        "/etc/passwd",
        "timm:../../resnet18",
        "resnet18.hf-hub:canary",
        "resnet18?checkpoint_path=/tmp/x",
        "resnet18,checkpoint_path=/tmp/x",
        "resnet18,pretrained=1",
        "resnet18 ; import canary",
        "resnet18\nresnet18",
        "package.module:function",
        "timm:NAME",
        "timm:",
        "",
        "resnet18" * 100,
        "shallow-cnn\x00",
        "\u202eshallow-cnn",
        "nosuch",
        "theirs.safetensors",
    ],
)
def test_a_file_can_name_no_code_path_or_address(tmp_path: Path, name: str) -> None:
    path = file_with(tmp_path, {**PLAIN, "name": name})
    with pytest.raises(CheckpointError, match=r"theirs\.safetensors (has|names) ") as seen:
        load(checkpoint=path)
    assert "\n" not in str(seen.value)
    with pytest.raises(CheckpointError, match=r"theirs\.safetensors (has|names) "):
        load(str(path))


def test_a_name_that_was_typed_counts_and_the_files_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "typed_here.py").write_text("from robustlab.models import ShallowCNN\nmake = ShallowCNN\n")
    monkeypatch.syspath_prepend(tmp_path)
    whole = load("typed_here:make", checkpoint=file_with(tmp_path, PLAIN))
    assert isinstance(whole, ShallowCNN)


TOO_MUCH: dict[str, dict[str, object]] = {
    "no name": {"classes": 10},
    "a number as name": {**PLAIN, "name": 3},
    "a list as name": {**PLAIN, "name": ["os", "abort"]},
    "one class": {**PLAIN, "classes": 1},
    "millions of classes": {**PLAIN, "classes": 1_000_001},
    "a huge number": {**PLAIN, "classes": 10**400},
    "a true class": {**PLAIN, "classes": True},
    "classes in words": {**PLAIN, "classes": "10"},
    "classes as a float": {**PLAIN, "classes": 10.0},
    "no classes": {**PLAIN, "classes": None},
    "no channel": {**PLAIN, "channels": 0},
    "a negative size": {**PLAIN, "size": -28},
    "a giant size": {**PLAIN, "size": 10**9},
    "a mean alone": {**PLAIN, "mean": [0.5]},
    "a std alone": {**PLAIN, "std": [0.5]},
    "other means than stds": {**PLAIN, "mean": [0.5], "std": [0.5, 0.5]},
    "means of three channels": {**PLAIN, "mean": [0.5] * 3, "std": [0.5] * 3},
    "an endless mean": {**PLAIN, "mean": [0.5] * 10_000, "std": [0.5] * 10_000},
    "std 0": {**PLAIN, "mean": [0.5], "std": [0.0]},
    "a negative std": {**PLAIN, "mean": [0.5], "std": [-1.0]},
    "a std that is 0 in float32": {**PLAIN, "mean": [0.5], "std": [1e-320]},
    "std infinite": {**PLAIN, "mean": [0.5], "std": [float("inf")]},
    "a mean that is no number": {**PLAIN, "mean": [float("nan")], "std": [1.0]},
    "a mean in words": {**PLAIN, "mean": "0.5", "std": "0.5"},
    "a mean without an end": {**PLAIN, "mean": [], "std": []},
    "a true mean": {**PLAIN, "mean": [True], "std": [True]},
    "one route": {**PLAIN, "routes": 1},
    "thousands of routes": {**PLAIN, "routes": 5000},
    "routes in a network without BatchNorm": {**PLAIN, "routes": 2},
    "another activation": {**PLAIN, "activation": "os:abort"},
    "an unknown activation": {**PLAIN, "activation": "swish"},
    "from_size alone": {**PLAIN, "from_size": 28},
    "from channels that do not lead there": {**PLAIN, "from_size": 28, "from_channels": 2},
    "an unknown key": {**PLAIN, "checkpoint_path": "/etc/passwd"},
    "a key of Python": {**PLAIN, "__class__": "os.system"},
    "images too small": {**PLAIN, "size": 4},
    "options that there are not": {**PLAIN, "name": "efficientnet-lite0,stride=9"},
    "width of another": {**PLAIN, "name": "resnet18,width=1000000"},
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_every_value_of_the_metadata_is_checked(tmp_path: Path, what: str) -> None:
    path = file_with(tmp_path, TOO_MUCH[what])
    with pytest.raises(CheckpointError, match=r"theirs\.safetensors ") as seen:
        load(checkpoint=path)
    assert "\n" not in str(seen.value)
    assert len(str(seen.value)) < 800


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "shallow-cnn",
        "null",
        "[]",
        '"os:abort"',
        "3",
        "[" * 100_000,
        '{"name":' * 500 + "1" + "}" * 500,
        '{"a": ' + "[" * 990 + "]" * 990 + "}",
        json.dumps({**PLAIN, "note": "x" * 10_000_000}),
        '{"name": "\\ud800"}',
        '{"name": 1e999}',
        '{"classes": ' + "9" * 5000 + "}",
        "\x00",
    ],
    ids=lambda text: f"{text[:12]!r} {len(text)}",
)
def test_broken_or_huge_json_is_one_sentence_with_the_files_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match=r"theirs\.safetensors (has|names) ") as seen:
        load("shallow-cnn", checkpoint=file_with(tmp_path, text)) if text else load(str(file_with(tmp_path, text)))
    assert "\n" not in str(seen.value)
    assert len(str(seen.value)) < 500


def test_a_file_takes_no_more_memory_than_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_with(tmp_path, {**PLAIN, "size": 8192, "classes": 1_000_000})
    made: list[torch.device] = []
    usual = nn.Linear.__init__

    def watched(self: nn.Linear, inputs: int, outputs: int, bias: bool = True) -> None:
        usual(self, inputs, outputs, bias)
        made.append(self.weight.device)

    monkeypatch.setattr(nn.Linear, "__init__", watched)
    with pytest.raises(CheckpointError, match=r"is of another architecture: .*head.1.weight is \(256, 248\), not"):
        load(checkpoint=path)
    assert {device.type for device in made} == {"meta"}


class Bomb:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


def _script(path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(path)


def _zipped(path: Path) -> None:
    torch.save(weights(), path.with_name("sound.pt"))
    with zipfile.ZipFile(path.with_name("sound.pt")) as sound, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for entry in sound.namelist():
            made.writestr(entry, sound.read(entry))


def _tarred(path: Path) -> None:
    with tarfile.open(path, "w") as made:
        made.add(__file__, "../../escape.py")


def _itself() -> dict[str, object]:
    whole: dict[str, object] = {}
    whole["state_dict"] = whole["model"] = whole
    return whole


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "TorchScript": (_script, "is a TorchScript archive, which is a program"),
    "a pickle": (lambda p: p.write_bytes(pickle.dumps(Bomb(p.with_name("went off")))), "it is not unpickled"),
    "an old pickle": (
        lambda p: p.write_bytes(pickle.dumps(Bomb(p.with_name("went off")), 0)),
        "it is not unpickled|damaged",
    ),
    "a bomb saved by torch": (lambda p: torch.save({"state_dict": Bomb(p.with_name("went off"))}, p), "not unpickled"),
    "a bomb beside weights": (
        lambda p: torch.save({**weights(), "x": Bomb(p.with_name("went off"))}, p),
        "not unpickled",
    ),
    "a whole module": (lambda p: torch.save(nn.Linear(2, 2), p), "it is not unpickled"),
    "compressed": (_zipped, "is an archive, but not of weights"),
    "a tar": (_tarred, "is truncated or damaged|holds more than weights"),
    "npz": (lambda p: np.savez(p.open("wb"), a=np.zeros(3)), "is an archive, but not of weights"),
    "text": (lambda p: p.write_text("resnet18"), "is truncated or damaged|holds more than weights"),
    "empty": (lambda p: p.write_bytes(b""), "is truncated or damaged"),
    "integer keys": (lambda p: torch.save({0: torch.zeros(3), 1: torch.zeros(3)}, p), "does not hold a dictionary"),
    "mixed keys": (lambda p: torch.save({"a": torch.zeros(3), None: torch.zeros(3)}, p), "does not hold a dictionary"),
    "a list": (lambda p: torch.save([torch.zeros(3)], p), "does not hold a dictionary"),
    "a tensor": (lambda p: torch.save(torch.zeros(3), p), "does not hold a dictionary"),
    "nothing": (lambda p: torch.save({}, p), "does not hold a dictionary"),
    "itself": (lambda p: torch.save(_itself(), p), "does not hold a dictionary"),
    "a long name": (lambda p: torch.save({".".join("a" * 5000): torch.zeros(1)}, p), "holds a name of 9,999 letters"),
    "sparse weights": (
        lambda p: torch.save({"a": torch.eye(2).to_sparse()}, p),
        "holds a, which is a tensor of kind sparse",
    ),
    "weights without values": (
        lambda p: torch.save({"a": torch.empty(3, device="meta")}, p),
        "holds a, which is on the meta",
    ),
    "a folder": (lambda p: p.mkdir(), "there is no checkpoint"),
}


@pytest.mark.filterwarnings("ignore")  # of torch, about what the tests write
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_one_sentence_of_ours(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"theirs{suffix}"
    make, words = OTHERS[kind]
    make(path)
    said = words if suffix == ".pt" or kind == "a folder" else "is truncated or damaged"
    for name in ("shallow-cnn", None):
        with pytest.raises(CheckpointError, match=rf"theirs\{suffix}.*({said})|({said}).*theirs\{suffix}") as seen:
            load(name, checkpoint=path)
        assert "weights_only" not in str(seen.value)
        assert "\n" not in str(seen.value)
    assert not (tmp_path / "went off").exists()


def compiled(model: nn.Module) -> nn.Module:
    return cast(nn.Module, torch.compile(model, backend="eager"))


Weights: TypeAlias = dict[str, torch.Tensor]
CONTAINERS: dict[str, Callable[[Weights], object]] = {
    "none": lambda w: w,
    "state_dict": lambda w: {"state_dict": w, "epoch": 3, "optimizer": {"state": {}}},
    "model": lambda w: {"model": w},
    "net": lambda w: {"net": w, "acc": 93.5},
    "ema": lambda w: {"ema": w, "updates": 3},
    "a name and weights": lambda w: {"model": "shallow-cnn", "state_dict": w},
    "in each other": lambda w: {"checkpoint": 1, "model": {"state_dict": {"module": w}}},
    "ema in state_dict": lambda w: {"ema_state_dict": {"module": w}},
    "module.": lambda w: {f"module.{k}": v for k, v in w.items()},
    "module._orig_mod.": lambda w: {f"module._orig_mod.{k}": v for k, v in w.items()},
    "_orig_mod.module.": lambda w: {"state_dict": {f"_orig_mod.module.{k}": v for k, v in w.items()}},
    "averaged": lambda w: {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in w.items()}},
    "lightning": lambda w: {"state_dict": {f"model.{k}": v for k, v in w.items()}, "hyper_parameters": {"lr": 0.1}},
    "lightning, compiled": lambda w: {"state_dict": {f"model._orig_mod.{k}": v for k, v in w.items()}},
    "parameters": lambda w: {k: nn.Parameter(v) for k, v in w.items()},
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_weights_come_out_of_the_usual_containers(tmp_path: Path, kind: str) -> None:
    path, kept = tmp_path / "theirs.pth.tar", weights()
    torch.save(CONTAINERS[kind](kept), path)
    found = load("shallow-cnn", checkpoint=path).state_dict()
    assert all(torch.equal(found[name], value) for name, value in kept.items())
    with pytest.raises(
        CheckpointError, match=r"names no architecture.*load\(NAME, checkpoint=FILE\), --architecture NAME, or"
    ):
        load(str(path))


def test_names_of_weights_stay_on_their_line(tmp_path: Path) -> None:
    torch.save({"a\x1b[31m\nb": torch.zeros(2)}, tmp_path / "theirs.pt")
    with pytest.raises(CheckpointError, match=r"theirs.pt is of another .* it has besides a\[31m b$"):
        load("shallow-cnn", checkpoint=tmp_path / "theirs.pt")


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled], ids=["dp", "compiled"])
def test_a_wrapped_model_is_saved_as_the_model(tmp_path: Path, wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = load("batchnorm-cnn", classes=3, channels=3, size=20, seed=4)
    save(wrap(model), tmp_path / "wrapped.safetensors")
    found = load(str(tmp_path / "wrapped.safetensors"))
    assert found.architecture == model.architecture
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shallow-cnn", "batchnorm-cnn", "patch-mixer", "residual-cnn", "test_byobnet"])
def test_missing_sizes_come_from_the_weights(tmp_path: Path, name: str) -> None:
    model = load(name, classes=7, channels=2, size=64, seed=3)
    torch.save(model.state_dict(), tmp_path / "theirs.pt")
    save_file(model.state_dict(), tmp_path / "sorted.safetensors")  # by name
    x = torch.rand(2, 2, 64, 64)
    for file in ("theirs.pt", "sorted.safetensors"):
        assert torch.equal(load(name, checkpoint=tmp_path / file)(x), model(x))


def test_the_format_of_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    save(load("shallow-cnn", seed=1), tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").rename(tmp_path / "model.bin")
    assert isinstance(load(str(tmp_path / "model.bin")), ShallowCNN)


def test_entries_that_a_weight_file_cannot_hold_are_not_written(tmp_path: Path) -> None:
    class Remembers(nn.Linear):
        def get_extra_state(self) -> object:
            return {"steps": 3}

        def set_extra_state(self, state: object) -> None:
            del state

    with pytest.raises(CheckpointError, match=r"cannot be written: _extra_state is a dict, not a tensor"):
        save(Remembers(2, 2), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"weight is on the meta device"):
        save(nn.Linear(2, 2, device="meta"), tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_attribute_of_the_users_is_not_taken_for_ours(tmp_path: Path) -> None:
    for architecture in ({"layers": [1, 2]}, {"name": "mine", "layers": io}, "resnet"):
        model = nn.Linear(2, 2)
        vars(model)["architecture"] = architecture
        save(model, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match="names no architecture"):
            load(str(tmp_path / "model.safetensors"))
