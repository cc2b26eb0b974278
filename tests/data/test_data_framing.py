"""Photographs of any size become the square that a model takes, as published or as the user chooses."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import nn

from robustlab.data.framing import Framing, PublishedFraming, framing_for, published_framing
from robustlab.models import load, normalised

WIDE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 150, 3), dtype=np.uint8)).resize((300, 170))


def ramp(width: int, height: int) -> Image.Image:
    """Red grows from left to right, green from top to bottom, blue is full."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.dstack([across, down, np.full_like(down, 255)]).round().astype(np.uint8))


@pytest.mark.parametrize("shape", [(300, 150), (150, 300)])
def test_squash_keeps_everything_at_any_shape(shape: tuple[int, int]) -> None:
    found = Framing(50, resize="squash")(ramp(*shape)).float()
    centres = (torch.arange(50) + 0.5) / 50 * 255
    assert found.shape == (3, 50, 50)
    assert float((found[0] - centres).abs().max()) <= 2
    assert float((found[1] - centres[:, None]).abs().max()) <= 2


def test_pad_keeps_shape_and_everything_and_fills_up_with_black() -> None:
    found = Framing(60, resize="pad")(ramp(300, 150)).float()
    assert found.shape == (3, 60, 60)
    assert found[:, :15].abs().max() == found[:, 45:].abs().max() == 0
    assert (found[2, 15:45] == 255).all()
    assert float((found[0, 15:45] - (torch.arange(60) + 0.5) / 60 * 255).abs().max()) <= 2
    tall = Framing(60, resize="pad")(ramp(1, 300))
    assert (tall[2, :, 29:31] == 255).any()
    assert not tall[2, :, 31:].any()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
def test_the_interpolation_is_pillows_of_that_name(interpolation: str) -> None:
    found = Framing(50, resize="squash", interpolation=interpolation)(WIDE)  # type: ignore[arg-type]
    theirs = np.array(WIDE.resize((50, 50), Image.Resampling[interpolation.upper()]))
    assert np.array_equal(found.permute(1, 2, 0).numpy(), theirs)


def test_invalid_framings_are_refused() -> None:
    for wrong in ({"resize": "stretch"}, {"interpolation": "cubic"}, {"crop": 0.0}, {"size": 0}, {"channels": 2}):
        with pytest.raises(ValueError, match=r"must be (one of|positive)"):
            Framing(**{"size": 8, **wrong})  # type: ignore[arg-type]


def test_the_text_of_a_framing_has_all_settings() -> None:
    texts = [
        str(Framing(224)), str(Framing(224, crop=1.0)), str(Framing(224, resize="squash")), str(Framing()),
        str(Framing(224, resize="pad")), str(Framing(224, interpolation="box")), str(Framing(224, channels=1)),
    ]  # fmt: skip
    assert len(set(texts)) == len(texts)
    assert texts[0] == "the shorter side scaled to 256 (bicubic), the central 224x224 cut out"
    assert repr(Framing(224)) == "Framing(size=224, crop=0.875, channels=3)"
    assert repr(Framing(224)) != repr(Framing(224, resize="pad")) != repr(Framing(224, interpolation="box"))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "mobilenetv3_small_050", "tf_efficientnet_b0"])
def test_timms_own_preprocessing_is_taken_to_the_bit(name: str) -> None:
    net = timm.create_model(name, pretrained=False, num_classes=2)
    config = resolve_model_data_config(net)  # type: ignore[no-untyped-call]
    transform = create_transform(**{**config, "mean": (0, 0, 0), "std": (1, 1, 1)}, is_training=False)
    for model in (net, normalised(net, config["mean"], config["std"])):
        framing = published_framing(model)
        assert framing == framing_for(model)
        assert framing is not None
        assert torch.equal(framing(WIDE).div(255), transform(WIDE))


def test_squashing_configurations_are_squashed() -> None:
    net = nn.Conv2d(3, 2, 1)
    vars(net)["pretrained_cfg"] = {"input_size": (3, 48, 48), "crop_pct": 1.0, "crop_mode": "squash"}
    transform = create_transform((3, 48, 48), mean=(0, 0, 0), std=(1, 1, 1), crop_pct=1.0, crop_mode="squash",
                                           interpolation="bicubic")  # fmt: skip
    framing = published_framing(net)
    assert framing == PublishedFraming(48, 1.0, "bicubic", squash=True)
    assert torch.equal(framing(WIDE).div(255), transform(WIDE))


def test_a_network_for_another_size_than_published_has_its_own_framing() -> None:
    small = load("timm:resnet18", classes=3, channels=1, size=40, pretrained=False)
    assert published_framing(small) is None
    assert framing_for(small) == Framing(40, channels=1)
    assert framing_for(load("shallow-cnn", classes=3, channels=3, size=32)) == Framing(32)
    assert framing_for(nn.Conv2d(1, 4, 3)) == Framing(channels=1)
    assert framing_for(nn.Linear(4, 3)) is framing_for(lambda x: x) is framing_for(nn.Conv2d(5, 4, 3)) is None
