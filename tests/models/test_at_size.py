"""The same weights on larger images: what the network gets, what a file says, and what cannot be enlarged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robustlab.core.routes import routes_of
from robustlab.models import ResidualCNN, ShallowCNN, at_size, load, save, split_bn
from robustlab.models.architecture import architecture_of
from robustlab.models.transfer import for_images

SMALL = "timm:efficientnet_lite0,stride=2,width=0.25"


def enlarged(x: torch.Tensor, side: int) -> torch.Tensor:
    return F.interpolate(x, size=(side, side), mode="bilinear")


@pytest.mark.parametrize("name", ["residual-cnn", "inverted-cnn", SMALL])
def test_the_network_gets_larger_images_and_a_file_builds_it_again(tmp_path: Path, name: str) -> None:
    net, x = load(name, classes=4, channels=1, size=12, seed=3), torch.rand(2, 1, 12, 12)
    before = torch.get_rng_state()
    made = at_size(net, 20)
    assert torch.equal(torch.get_rng_state(), before)
    save(made, tmp_path / "net.safetensors")
    again = load(checkpoint=tmp_path / "net.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(made(x), net(enlarged(x, 20)))
        assert not torch.allclose(made(x), net(x))
        assert torch.equal(again(x), made(x))
    assert architecture_of(again) == architecture_of(made)
    assert not made.training


def test_weights_are_copies_and_the_mode_is_that_of_the_model() -> None:
    net = ResidualCNN().train()
    made = at_size(net, 42)
    assert made.training
    with torch.no_grad():
        next(made.parameters()).zero_()
    assert bool(next(net.parameters()).any())


def test_a_network_that_enlarged_its_images_before_enlarges_them_more() -> None:
    """As timm's do without a stride, and those that were made for other images."""
    timm_net, x = load("timm:efficientnet_lite0", classes=3, channels=1, size=28), torch.rand(1, 1, 28, 28)
    inner = [timm_net.get_submodule(name) for name in ("normalise", "model")]
    with torch.no_grad():
        torch.testing.assert_close(at_size(timm_net, 96)(x), nn.Sequential(*inner)(enlarged(x, 96)))
    net = ResidualCNN(channels=3).eval()
    made = at_size(for_images(net, channels=1, size=28, side=32), 40)
    with torch.no_grad():
        torch.testing.assert_close(made(x), net(enlarged(x, 40).expand(-1, 3, -1, -1)))
    assert architecture_of(made) == {
        "name": "residual-cnn", "classes": 10, "channels": 3, "size": 40, "from_channels": 1, "from_size": 28,
    }  # fmt: skip


def test_auxiliary_norms_come_along() -> None:
    made = at_size(split_bn(ResidualCNN(), 3), 42)
    assert routes_of(made) == 3


@pytest.mark.parametrize(
    ("model", "side", "said"),
    [
        (ShallowCNN(), 56, "shallow-cnn has layers for 28 pixels alone and cannot see images at 56: take a network"),
        (load("batchnorm-cnn", size=8), 12, "batchnorm-cnn has layers for 8 pixels alone"),
        (load("patch-mixer"), 42, "patch-mixer has layers for 28 pixels alone"),
        (ResidualCNN(), 28, "residual-cnn sees images at 28 pixels already: give a larger size than that, got 28"),
        (at_size(ResidualCNN(), 42), 36, "residual-cnn sees images at 42 pixels already"),
        (load("timm:efficientnet_lite0", classes=3, size=28), 42, "lite0 sees images at 64 pixels already: .*, got 42"),
        (load("timm:vit_tiny_patch16_224", classes=3), 256, "vit_tiny_patch16_224 has layers for 224 pixels alone"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 42, "the architecture of this Sequential is unknown, so it"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value)[:20],
)  # fmt: skip
def test_models_that_cannot_be_enlarged_are_refused_in_one_sentence(model: nn.Module, side: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        at_size(model, side)
