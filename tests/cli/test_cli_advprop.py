"""``robustlab train --recipe advprop``: auxiliary norms on the way, a plain network at the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from safetensors.torch import load_file

from robustlab import models
from robustlab.core.routes import routed_parts

Command = Callable[..., Any]
SMALL = ("--data", "digits", "--limit", "60", "--batch-size", "30", "--epochs", "2")


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "more"), [("advprop", ("--eps", "1/255,8/255")), ("fast-advprop", ())])
def test_checkpoints_have_auxiliary_norms_and_the_model_has_none(
    command: Command, place: Path, recipe: str, more: tuple[str, ...]
) -> None:
    done = command("train", "batchnorm-cnn", *SMALL, "--recipe", recipe, *more, "--json", "--out", "net")
    assert done.code == 0, done.err
    assert "adversarial_accuracy" in json.loads(done.out)["epochs"][-1]
    kept = models.load(checkpoint=place / "net" / "epoch-0002" / "model.safetensors")
    plain = models.load(checkpoint=place / "net" / "model.safetensors")
    assert {part.routes for part in routed_parts(kept)} == {3 if more else 2}
    assert isinstance(plain, models.BatchNormCNN)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(kept(x), plain(x))


@pytest.mark.slow
def test_a_plain_timm_network_loads_what_was_trained_and_a_run_goes_on(command: Command, place: Path) -> None:
    words = ("train", "timm:efficientnet_lite0,stride=1,width=0.25", *SMALL, "--recipe", "advprop", "--eps", "1/255")
    assert command(*words, "--out", "net").code == 0
    again = command(*words, "--epochs", "3", "--out", "net")
    assert again.code == 2, "another length is another run"
    assert command(*words, "--out", "net").code == 0
    found = load_file(place / "net" / "model.safetensors")
    network = {name.removeprefix("model."): value for name, value in found.items() if name.startswith("model.")}
    plain = (
        cast(Any, timm.models.efficientnet)
        ._gen_efficientnet_lite("efficientnet_lite0", channel_multiplier=0.25, num_classes=10, in_chans=1)
        .eval()
    )
    plain.load_state_dict(network)
    plain.conv_stem.stride = (1, 1)
    ours, x = models.load(checkpoint=place / "net" / "model.safetensors"), torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(plain(ours.get_submodule("normalise")(x)), ours(x))


def test_a_network_without_batchnorm_is_refused(command: Command) -> None:
    done = command("train", "shallow-cnn", "--data", "fashion-mnist", "--limit", "9", "--recipe", "advprop")
    assert done.code == 2
    assert "ShallowCNN holds no BatchNorm to be split: AdvProp is for networks with BatchNorm" in " ".join(
        done.err.split()
    )


@pytest.mark.slow
def test_with_shared_norms_nothing_is_split(command: Command, place: Path) -> None:
    words = ("--recipe", "advprop", "--shared-bn", "--untargeted", "--steps", "1", "--hold-out", "20")
    done = command("train", "batchnorm-cnn", *SMALL, *words, "--out", "net")
    assert done.code == 0, done.err
    assert "targeted=False" in "".join(done.err.split())
    assert not routed_parts(models.load(checkpoint=place / "net" / "epoch-0001" / "model.safetensors"))
