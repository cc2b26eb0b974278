"""robustlab attack --png: images of 8 bits on disk that fool the model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

if TYPE_CHECKING:
    from tests.cli.conftest import Command

MODEL = """
import torch
from torch import nn


def flat():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 6, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(2, 90, generator=torch.Generator().manual_seed(0)))
        model[1].bias.zero_()
    return model
"""


@pytest.fixture
def folder(place: Path) -> Path:
    """Images of two classes, and a module with a model."""
    (place / "eighty.py").write_text(MODEL)
    numbers = np.random.default_rng(0).integers(0, 256, (8, 5, 6, 3), dtype=np.uint8)
    for number, image in enumerate(numbers):
        path = place / "images" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pgd", "targeted-pgd"])
def test_images_on_disk_are_those_that_were_judged(command: Command, folder: Path, name: str) -> None:
    words = ["--data", "images", "--eps", "24/255", "--steps", "10", "--attack", name, "--restarts", "2", "--png"]
    done = command("attack", "eighty:flat", *words, "--out", "made")
    assert done.code == 0, done.err
    made = load_file(folder / "made" / "adversarial.safetensors")
    for number, x, x_adv in zip(made["ids"].tolist(), made["x"], made["x_adv"], strict=True):
        with Image.open(folder / "made" / "png" / f"{number}.png") as image:
            levels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
        assert torch.equal(levels.float() / 255, x_adv)
        assert int((levels.int() - (255 * x).round().int()).abs().max()) <= 24
    fooled = int((made["prediction_adv"] != made["y"]).sum())
    assert re.search(rf"{fooled} of the 8 images in .* fool the model when loaded again", " ".join(done.err.split()))
    assert fooled >= 6
