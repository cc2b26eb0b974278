"""The residual network, the small EfficientNetV2, and the mixer of patches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustlab.models import InvertedCNN, PatchMixer, ResidualCNN, load

Compact = type[ResidualCNN] | type[InvertedCNN]


@pytest.mark.parametrize(
    ("make", "parameters", "normed"), [(ResidualCNN, 308_074, 9), (InvertedCNN, 292_698, 12)], ids=["residual", "fused"]
)
def test_they_are_as_big_as_they_say(make: Compact, parameters: int, normed: int) -> None:
    model = make()
    assert sum(weight.numel() for weight in model.parameters()) == parameters
    assert sum(isinstance(part, nn.BatchNorm2d) for part in model.modules()) == normed


@pytest.mark.parametrize("size", [8, 28, 33])
@pytest.mark.parametrize("make", [ResidualCNN, InvertedCNN])
def test_other_images_and_classes_fit(make: Compact, size: int) -> None:
    assert make(classes=3, channels=2, size=size)(torch.rand(2, 2, size, size)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "make"), [("residual-cnn", ResidualCNN), ("inverted-cnn", InvertedCNN), ("patch-mixer", PatchMixer)]
)
def test_they_come_by_name(name: str, make: type[nn.Module]) -> None:
    model = load(name, classes=3, channels=3, size=16)
    assert isinstance(model, make)
    assert model(torch.rand(2, 3, 16, 16)).shape == (2, 3)


@pytest.mark.parametrize("make", [ResidualCNN, InvertedCNN])
def test_inputs_are_added_to_outputs_of_the_same_shape(make: Compact) -> None:
    """With all weights of the path at zero, the first block hands its input on."""
    model = make().eval()
    block = (model.blocks if isinstance(model, ResidualCNN) else model.features[3:])[0]
    for name, weight in block.named_parameters():
        if name.startswith("path"):
            nn.init.zeros_(weight)
    x = torch.rand(2, 32 if isinstance(model, ResidualCNN) else 16, 5, 5)
    torch.testing.assert_close(block(x), x)


def test_the_mixer_has_the_documented_size_and_sees_whole_patches() -> None:
    model = PatchMixer()
    assert sum(weight.numel() for weight in model.parameters()) == 191_942
    assert sum(isinstance(part, nn.Conv2d) for part in model.modules()) == 1
    odd = PatchMixer(classes=3, channels=2, size=11)
    x = torch.rand(2, 2, 11, 11)
    assert odd(x).shape == (2, 3)
    changed = x.clone()
    changed[..., 8:, :] = 0  # what exceeds two whole patches
    torch.testing.assert_close(odd(changed), odd(x))


def test_the_mixer_mixes_patches_and_features() -> None:
    """The patch of a feature matters: with only one kind of mixing, some output would not see some input."""
    model = PatchMixer(size=8).eval()
    x = torch.rand(1, 1, 8, 8, requires_grad=True)
    features = model.blocks(model.patches(x).flatten(2).transpose(1, 2))
    (gradient,) = torch.autograd.grad(features[0, 0, 0], x)
    assert bool((gradient != 0).all())


def test_images_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 3x3 are smaller than a patch of 4x4"):
        PatchMixer(size=3)
