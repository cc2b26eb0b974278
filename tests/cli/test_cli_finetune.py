"""``robustlab finetune``: both stages, what is held out, going on, and what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustlab.core.routes import routed_parts
from robustlab.models import BatchNormCNN, InvertedCNN, ShallowCNN, load, save
from robustlab.models.architecture import architecture_of
from robustlab.training import layer_groups

Command = Callable[..., Any]
WORDS = ("--data", "digits", "--limit", "120", "--head-epochs", "2", "--epochs", "1", "--batch-size", "30")


@pytest.fixture
def weights(place: Path) -> Path:
    """A network of other classes, for larger images."""
    file = place / "old.safetensors"
    save(BatchNormCNN(classes=4), file)
    return file


def held(path: Path) -> dict[str, Tensor]:
    """The weights in a file."""
    return load(checkpoint=path).state_dict()


@pytest.mark.slow
def test_a_checkpoint_of_other_classes_and_sizes_is_tuned_and_evaluated(
    command: Command, place: Path, weights: Path
) -> None:
    done = command("finetune", "--model", str(weights), *WORDS, "--out", "net", "--json")
    assert done.code == 0
    printed = json.loads(done.out)
    assert [len(printed[stage]["epochs"]) for stage in ("head", "body")] == [2, 1]
    assert printed["body"]["epochs"][0].keys() >= {"loss", "validation_accuracy"}
    assert f"layers: {', '.join(group.name for group in layer_groups(BatchNormCNN()))}" in " ".join(done.err.split())
    made = architecture_of(load(checkpoint=place / "net" / "model.safetensors"))
    assert made == {
        "name": "batchnorm-cnn",
        "classes": 10,
        "channels": 1,
        "size": 28,
        "from_channels": 1,
        "from_size": 8,
    }
    evaluated = command("evaluate", "net", "--data", "digits", "--limit", "10", "--attack", "fgsm", "--eps", "0.1")
    assert evaluated.code == 0
    assert "clean" in evaluated.out


@pytest.mark.slow
def test_the_same_command_goes_on_and_ends_with_the_same_weights(
    command: Command, place: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("finetune", "--model", str(weights), *WORDS)
    assert command(*words, "--out", "whole").code == 0
    plain = BatchNormCNN.forward

    def stopped(self: BatchNormCNN, x: Tensor) -> Tensor:
        if self.training and len(x) > 1:
            raise KeyboardInterrupt
        return plain(self, x)

    with monkeypatch.context() as patched:
        patched.setattr(BatchNormCNN, "forward", stopped)
        done = command(*words, "--out", "parts")
    assert done.code == 130
    assert "resume with: robustlab finetune --model" in " ".join(done.err.split())
    assert [path.name for path in (place / "parts" / "head").glob("epoch-*")] != []
    assert command(*words, "--out", "parts").code == 0
    expected = held(place / "whole" / "model.safetensors")
    assert all(torch.equal(v, expected[k]) for k, v in held(place / "parts" / "model.safetensors").items())


def test_the_table_says_which_weights_are_kept(command: Command, weights: Path) -> None:
    done = command("finetune", "--model", str(weights), *WORDS, "--hold-out", "20", "--out", "net")
    assert done.code == 0
    assert "Train the head" in done.out
    assert "held out" in done.out
    assert "Best on held-out images: epoch" in " ".join(done.err.split())


def test_one_stage_alone_without_anything_held_out(command: Command, place: Path, weights: Path) -> None:
    done = command(
        "finetune",
        "--model",
        str(weights),
        *WORDS,
        "--epochs",
        "0",
        "--hold-out",
        "0",
        "--features",
        "kept",
        "--out",
        "a",
    )
    assert done.code == 0
    assert "held out" not in done.out + done.err
    assert not (place / "a" / "body").exists()
    assert len(list((place / "kept").glob("*/rows.json"))) == 1
    before, after = held(weights), held(place / "a" / "model.safetensors")
    frozen = [name for name in before if before[name].shape == after[f"model.{name}"].shape]
    assert len(frozen) == len(before) - 2
    assert all(torch.equal(before[name], after[f"model.{name}"]) for name in frozen)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "more", "routes"), [("advprop", "1/255,8/255", 3), ("fast-advprop", "4/255", 2)])
def test_advprop_tunes_with_auxiliary_norms_and_leaves_a_plain_network(
    command: Command, place: Path, weights: Path, recipe: str, more: str, routes: int
) -> None:
    words = ("finetune", "--model", str(weights), *WORDS, "--epochs", "2", "--recipe", recipe, "--eps", more)
    done = command(*words, "--out", "net", "--json")
    assert done.code == 0, done.err
    assert "adversarial_accuracy" in json.loads(done.out)["body"]["epochs"][-1]
    assert f"layers: {', '.join(group.name for group in layer_groups(BatchNormCNN()))}" in " ".join(done.err.split())
    way = load(checkpoint=place / "net" / "body" / "epoch-0002" / "model.safetensors")
    assert {part.routes for part in routed_parts(way)} == {routes}
    plain = load(checkpoint=place / "net" / "model.safetensors")
    assert not routed_parts(plain)
    assert held(place / "net" / "model.safetensors").keys() == {f"model.{name}" for name in held(weights)}
    again = command(*words, "--out", "net")
    assert again.code == 0, again.err
    evaluated = command("evaluate", "net", "--data", "digits", "--limit", "10", "--attack", "fgsm", "--eps", "0.1")
    assert evaluated.code == 0, evaluated.err


def test_a_training_run_is_taken_and_its_head_kept_if_asked_for(command: Command, place: Path) -> None:
    save(BatchNormCNN(classes=10), place / "run" / "model.safetensors")
    words = ("finetune", "--model", "run", *WORDS, "--keep-head", "--head-epochs", "0", "--learning-rate", "0")
    assert command(*words, "--out", "net").code == 0
    before, after = held(place / "run" / "model.safetensors"), held(place / "net" / "model.safetensors")
    kept = [name for name in before if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(before[name], after[f"model.{name}"]) for name in kept)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model shallow-cnn", "shallow-cnn has no published weights: give a checkpoint or the directory of"),
        ("--keep-head", "the weights have 4 classes, digits train (120 of 1438) has 10: they need a new last"),
        ("--model tiny:coloured", "the weights are of a network that was trained on inputs with mean 0.485, 0.456,"),
        ("--model coloured.safetensors --data photos", "the images have 3 channels, but the weights are for"),
        ("--head-epochs 0 --epochs 0", "--head-epochs 0 and --epochs 0 leave nothing to train: set one of them"),
        ("--epochs 0 --recipe pgd", "--recipe pgd is for the second stage, which --epochs 0 leaves out"),
        ("--hold-out 120", "--hold-out 120 leaves nothing to train on: digits train (120 of 1438) has 120 examples"),
        ("--model plain.safetensors --recipe advprop", "holds no BatchNorm to be split: AdvProp is for networks with"),
        ("--limit 4 --hold-out 0", "digits train (4 of 1438) has no example of"),
        ("--data nowhere", "no data set is called 'nowhere'"),
        ("--recipe trades --label-smoothing 0.1", "the recipe trades does not use --label-smoothing"),
        ("--decay 2", "decay must be in (0, 1] and fraction in [0, 1], got 2.0 and 0.5"),
        ("--model old.pt", "there is no checkpoint old.pt"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_one_sentence(
    command: Command, place: Path, weights: Path, words: str, message: str
) -> None:
    if "photos" in words:
        _photos(place)
    save(ShallowCNN(classes=4), place / "plain.safetensors")
    done = command("finetune", "--model", str(weights), *WORDS, *words.split(), "--out", "net")
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not (place / "net" / "head").exists()


def test_a_set_of_torchvision_is_tuned_on_by_its_name(
    command: Command, place: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    class Patches(datasets.FakeData):  # type: ignore[misc]  # torchvision has no types
        """Random images of two classes."""

        classes = ("a", "b")

        def __init__(self, root: Path, split: str, target_transform: None = None) -> None:
            del root, split, target_transform
            super().__init__(20, (1, 40, 40), 2)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return super().__getitem__(index)[0].convert("L"), index % 2

    monkeypatch.setattr(datasets, "Patches", Patches, raising=False)
    words = ("--data", "torchvision:Patches", "--size", "28", "--head-epochs", "1", "--epochs", "1", "--hold-out", "0")
    done = command("finetune", "--model", str(weights), *words, "--out", "net")
    assert done.code == 0, done.err
    made = architecture_of(load(checkpoint=place / "net" / "model.safetensors"))
    assert made == {"name": "batchnorm-cnn", "classes": 2, "channels": 1, "size": 28}
    offline = command("finetune", "--model", str(weights), "--data", "torchvision:Leaf", "--out", "other")
    assert (offline.code, offline.out) == (2, "")
    assert "torchvision has no data set 'Leaf'" in offline.err


def _photos(place: Path) -> None:
    """A network for grey images, and a folder of coloured ones."""
    from PIL import Image

    save(InvertedCNN(classes=2), place / "coloured.safetensors")
    for number, name in enumerate("ab"):
        (place / "photos" / "train" / name).mkdir(parents=True)
        Image.new("RGB", (28, 28), (90, 80 * number, 7)).save(place / "photos" / "train" / name / "1.png")
