"""Pretrained networks on other images: first layers, files that say so, the normalisation of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robustlab.models import BatchNormCNN, load, normalised, save
from robustlab.models.architecture import architecture_of
from robustlab.models.transfer import check_normalisation, for_images


def test_grey_images_become_as_large_and_coloured_as_the_network_takes_them() -> None:
    net = load("timm:resnet18", classes=3, size=64)
    made, x = for_images(net, channels=1, size=28), torch.rand(2, 1, 28, 28)
    large = F.interpolate(x, size=(64, 64), mode="bilinear").repeat(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(made(x), net(large))
    assert made.get_submodule("model") is net


def test_a_file_names_the_images_of_the_network(tmp_path: Path) -> None:
    made = for_images(BatchNormCNN(classes=4), channels=1, size=8)
    save(made, tmp_path / "net.safetensors")
    again, x = load(checkpoint=tmp_path / "net.safetensors"), torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(again(x), made.eval()(x))
    assert architecture_of(again) == architecture_of(made)


def test_first_layers_are_replaced_rather_than_piled_up() -> None:
    net = BatchNormCNN()
    made = for_images(for_images(net, channels=1, size=8), channels=1, size=14)
    assert made.get_submodule("model") is net
    assert made(torch.rand(2, 1, 14, 14)).shape == (2, 10)
    back = for_images(made, channels=1, size=28)
    assert back is net
    assert architecture_of(back) == architecture_of(BatchNormCNN())


def test_a_network_without_a_description_takes_the_channels_of_its_first_convolution() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert for_images(net, channels=3, size=9) is net
    assert for_images(net, channels=1, size=9, side=12)(torch.rand(1, 1, 9, 9)).shape == (1, 2)
    with pytest.raises(ValueError, match="the images have 4 channels, but the weights are for 3: convert"):
        for_images(net, channels=4, size=9)


def test_another_normalisation_than_that_of_the_weights_is_refused() -> None:
    net = load("timm:tf_efficientnet_lite0", pretrained=False, channels=1)
    check_normalisation(net)
    inner = net.get_submodule("model")
    with pytest.raises(ValueError, match=r"trained on inputs with mean 0.5.* but the model uses 0 and 1: wrap the"):
        check_normalisation(inner)
    with pytest.raises(ValueError, match=r"mean 0.5, 0.5, 0.5 and std 0.5, 0.5, 0.5, but the model uses 0.4 and 0.5"):
        check_normalisation(normalised(inner, [0.4], [0.5]))
    check_normalisation(normalised(inner, [0.5], [0.5]))
    check_normalisation(nn.Sequential(nn.BatchNorm2d(1), inner))
