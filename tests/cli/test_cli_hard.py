"""Hard photographs and outliers from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.cli.conftest import Command


@pytest.mark.slow
def test_both_protocols_are_shown_and_written(command: Command) -> None:
    words = ("hard", "tiny:means", "--data", "digits", "--limit", "250")
    done = command(*words)
    assert done.code == 0
    for word in ("10-way, masked", "10-way", "AURRA", "by chance", "250 images"):
        assert word in done.out
    found = json.loads(command(*words, "--json").out)
    assert found["masked"]["accuracy"] == found["full"]["accuracy"]
    assert 0.8 < found["full"]["accuracy"]["value"] < 1
    assert found["n"] == 250


def test_the_masked_protocol_is_among_the_classes_of_all_data_not_of_the_sample(command: Command) -> None:
    assert (
        json.loads(command("hard", "tiny:means", "--data", "digits", "--limit", "3", "--json").out)["masked"]["ways"]
        == 10
    )


def test_classes_that_do_not_match_are_one_sentence(command: Command, place: Path) -> None:
    for name in ("cat", "dog"):
        (place / "pets" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(place / "pets" / name / "a.png")
    done = command("hard", "tiny:means", "--data", "pets")
    assert done.code == 2
    assert "the model cannot take inputs" in done.err


def test_outliers_are_told_from_known_images(command: Command) -> None:
    done = command("hard", "tiny:means", "--data", "digits", "--limit", "40", "--known", "digits")
    assert done.code == 0
    assert "AUPR" in done.out
    found = json.loads(
        command("hard", "tiny:means", "--data", "digits", "--limit", "40", "--known", "digits", "--json").out
    )
    detection = found["detection"]
    assert detection["base_rate"] == pytest.approx(40 / (40 + detection["known"]))
    assert found["ways"] == 10


def test_imagenet_o_is_nothing_without_known_images(command: Command) -> None:
    done = command("hard", "tiny:means", "--data", "imagenet-o:nowhere")
    assert done.code == 2
    assert "give --known imagenet:PATH as well" in done.err


def test_imagenet_o_is_told_from_the_images_of_its_own_classes(command: Command, place: Path) -> None:
    from robustlab.data.imagenet import imagenet_synsets

    (place / "colours.py").write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "def mean():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000))\n"
    )
    for number, synset in enumerate(imagenet_synsets()[:202]):
        for root in ("o", "val") if 0 < number < 201 else ("val",):
            (place / root / synset).mkdir(parents=True)
            Image.new("RGB", (4, 4), (number, 0, 255 if root == "o" else 0)).save(place / root / synset / "a.png")
    words = ("hard", "colours:mean", "--data", "imagenet-o:o", "--known", "imagenet:.", "--size", "8", "--json")
    found = json.loads(command(*words).out)
    assert (found["detection"]["unknown"], found["detection"]["known"], found["ways"]) == (200, 200, 200)
