"""The residual network and the small EfficientNetV2."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustlab.models import InvertedCNN, ResidualCNN, load

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


@pytest.mark.parametrize(("name", "make"), [("residual-cnn", ResidualCNN), ("inverted-cnn", InvertedCNN)])
def test_they_come_by_name(name: str, make: Compact) -> None:
    model = load(name, classes=3, channels=3, size=16)
    assert isinstance(model, make)
    assert model(torch.rand(2, 3, 16, 16)).shape == (2, 3)


@pytest.mark.parametrize("make", [ResidualCNN, InvertedCNN])
def test_what_comes_in_is_added_to_what_comes_out_where_the_shape_stays(make: Compact) -> None:
    """With all weights of the path at zero, the first block hands its input on."""
    model = make().eval()
    block = (model.blocks if isinstance(model, ResidualCNN) else model.features[3:])[0]
    for name, weight in block.named_parameters():
        if name.startswith("path"):
            nn.init.zeros_(weight)
    x = torch.rand(2, 32 if isinstance(model, ResidualCNN) else 16, 5, 5)
    torch.testing.assert_close(block(x), x)
