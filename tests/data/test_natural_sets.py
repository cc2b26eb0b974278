"""ImageNet-A and ImageNet-O as published, and folders that are neither."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustlab.core.errors import DataError
from robustlab.data import examples, imagenet_a_classes, load, of_classes
from robustlab.data.framing import PublishedFraming
from robustlab.data.imagenet import imagenet_synsets
from robustlab.data.natural_sets import imagenet_a, imagenet_o, labels_of

OTHER = [k for k in range(1000) if k not in set(imagenet_a_classes().tolist())][:200]


def photographs(root: Path, classes: Sequence[int]) -> Path:
    """One photograph for each class; its grey level is the class's position, kept by PNG whatever the suffix."""
    root.mkdir()
    synsets = imagenet_synsets()
    for position, number in enumerate(classes):
        (root / synsets[number]).mkdir()
        Image.new("RGB", (12, 10), (position,) * 3).save(root / synsets[number] / "a.jpg", "PNG")
    (root / "README.txt").write_text("not an image")
    return root


def test_imagenet_a_has_200_classes_with_imagenets_numbers() -> None:
    classes = imagenet_a_classes()
    assert classes.shape == (200,)
    assert classes[:6].tolist() == [6, 11, 13, 15, 17, 22]
    assert classes[-3:].tolist() == [986, 987, 988]


def test_imagenet_a_is_read_with_imagenets_labels(tmp_path: Path) -> None:
    classes = imagenet_a_classes()
    found = load(f"imagenet-a:{photographs(tmp_path / 'a', classes.tolist())}", size=8)
    assert (len(found), len(found.classes)) == (200, 1000)
    batch = found.batch(torch.tensor([199, 3]))
    assert batch.y.tolist() == [988, 15]
    assert batch.x.shape == (2, 3, 8, 8)
    assert (batch.x[:, 0, 4, 4] * 255).round().tolist() == [199, 3]


def test_images_are_224_pixels_by_default(tmp_path: Path) -> None:
    root = photographs(tmp_path / "a", imagenet_a_classes().tolist())
    assert load(f"imagenet-a:{root}").batch(torch.tensor([0])).x.shape == (1, 3, 224, 224)


def test_a_folder_that_is_not_imagenet_a_is_refused(tmp_path: Path) -> None:
    other = photographs(tmp_path / "o", OTHER)
    with pytest.raises(DataError, match=r"is not ImageNet-A: 200 of its 200 folders are no class of it, such as n014"):
        imagenet_a(other)
    root = photographs(tmp_path / "a", imagenet_a_classes().tolist())
    shutil.rmtree(root / "n01498041")
    with pytest.raises(DataError, match="has 199 of the 200 classes of ImageNet-A, n01498041 is missing"):
        imagenet_a(root)
    with pytest.raises(DataError, match="there is no folder"):
        imagenet_a(tmp_path / "nowhere")


def test_imagenet_o_is_labelled_by_its_wrong_predictions(tmp_path: Path) -> None:
    found = load(f"imagenet-o:{photographs(tmp_path / 'o', OTHER)}", size=8)
    assert len(found) == 200
    assert found.batch(torch.arange(200)).y.tolist() == OTHER


def test_a_folder_that_is_not_imagenet_o_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is ImageNet-A: give it as imagenet-a:PATH"):
        imagenet_o(photographs(tmp_path / "a", imagenet_a_classes().tolist()))
    root = photographs(tmp_path / "o", OTHER)
    (root / "cat").mkdir()
    with pytest.raises(DataError, match="is not ImageNet-O: cat is no class of ImageNet"):
        imagenet_o(root)
    (root / "cat").rmdir()
    shutil.rmtree(root / "n01440764")
    with pytest.raises(DataError, match="it has 199 folders, expected 200 folders named by ImageNet synsets"):
        imagenet_o(root)


def test_imagenets_validation_images_have_the_same_framing(tmp_path: Path) -> None:
    root = photographs(tmp_path / "val", [3, 285])
    for path in (root, tmp_path):
        found = load(f"imagenet:{path}", size=8)
        assert found.batch(torch.arange(2)).y.tolist() == [3, 285]
        assert found.framing == PublishedFraming(8)  # type: ignore[attr-defined]  # of folders
    (root / "cat").mkdir()
    with pytest.raises(DataError, match="val is not ImageNet: cat is no synset of its classes"):
        load(f"imagenet:{root}")


def test_the_validation_images_of_some_classes(tmp_path: Path) -> None:
    validation = examples(photographs(tmp_path / "val", [0, 1, 5, 6]))
    found = of_classes(validation, torch.tensor([1, 6, 7]))
    assert found.batch(torch.arange(len(found))).y.tolist() == [1, 6]
    with pytest.raises(DataError, match="val has no example of the 1 classes: give"):
        of_classes(validation, torch.tensor([9]))
    assert of_classes(found, torch.tensor([6])).batch(torch.tensor([0])).y.tolist() == [6]


def test_labels_are_read_where_a_data_set_does_not_hold_them() -> None:
    given = [(torch.zeros(1, 2, 2), k % 3) for k in range(130)]
    assert labels_of(examples(given, classes=3)).tolist() == [k % 3 for k in range(130)]


@pytest.mark.parametrize("size", [(300, 200), (201, 333), (500, 500), (259, 256), (90, 131)])
def test_photographs_are_framed_as_torchvision_does(size: tuple[int, int]) -> None:
    """Published results are by torchvision's Resize(256) and CenterCrop(224)."""
    from torchvision import transforms

    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(values)
    theirs = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()])(image)
    assert torch.equal(PublishedFraming()(image), theirs)
