"""Names of files of examples: folders, parts of folders, torchvision's data sets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import Subset

from robustlab.core import Examples
from robustlab.data import examples, sample
from robustlab.data.file_names import file_names
from robustlab.data.splits import Part

NAMES = ("cats/1.png", "cats/2.png", "dogs/a b.png", "dogs/z.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def _folder(place: Path) -> Examples:
    return examples(place)


def _torchvision(place: Path) -> Examples:
    from torchvision.datasets import ImageFolder

    return examples(ImageFolder(str(place)))


@pytest.mark.parametrize("make", [_folder, _torchvision])
def test_files_are_named_relative_to_their_folder(folder: Path, make: object) -> None:
    assert callable(make)
    assert file_names(make(folder), torch.tensor([2, 0])) == ("dogs/a b.png", "cats/1.png")


def test_a_part_names_the_files_of_its_own_examples(folder: Path) -> None:
    part = Part("some", _folder(folder), torch.tensor([3, 1]))
    assert file_names(part, torch.tensor([0, 1])) == ("dogs/z.png", "cats/2.png")
    assert file_names(sample(part, 2), torch.tensor([0])) == ("dogs/z.png",)


def test_a_subset_of_a_torchvision_folder_names_its_own_files(folder: Path) -> None:
    from torchvision.datasets import ImageFolder

    subset = examples(Subset(ImageFolder(str(folder)), [3, 0]), classes=2)
    assert file_names(subset, torch.tensor([0, 1])) == ("dogs/z.png", "cats/1.png")


def test_tensors_have_no_files() -> None:
    assert file_names(examples(torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 0])), torch.arange(3)) == ()


def test_the_names_of_data_sets_are_still_a_function() -> None:
    """A module of the same name as a public function takes its place when it is imported."""
    import robustlab.data

    assert "digits" in robustlab.data.names()
