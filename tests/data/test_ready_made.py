"""Published layouts of corrupted copies: contents, order, and faults of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustlab.core.errors import DataError
from robustlab.core.types import Examples
from robustlab.data import CorruptedCopies, load
from robustlab.data.ready_made import cifar_c, corrupted_folders, imagenet_c

CAT, ESPRESSO = "n02124075", "n07920052"


def picture(path: Path, grey: int, side: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (grey, grey, grey)).save(path, "PNG")


def copies(
    root: Path, corruptions: tuple[str, ...] = ("snow", "fog"), classes: tuple[str, ...] = (CAT, ESPRESSO)
) -> Path:
    """Grey level: 100 for fog, else 0, + 10 * severity + the class's number."""
    for name in corruptions:
        for severity in (1, 2, 3, 4, 5):
            for k, folder in enumerate(classes):
                grey = (100 if name == "fog" else 0) + 10 * severity + k
                picture(root / name / str(severity) / folder / "val_1.JPEG", grey)
    return root


def greys(examples: Examples, *ids: int) -> list[int]:
    return (examples.batch(torch.tensor(ids)).x[:, 0, 0, 0] * 255).round().int().tolist()


def test_imagenet_c_is_read_by_cells_with_imagenets_labels(tmp_path: Path) -> None:
    found = load(f"imagenet-c:{copies(tmp_path / 'c')}")
    assert isinstance(found, CorruptedCopies)
    assert (found.corruptions, found.severities) == (("fog", "snow"), (1, 2, 3, 4, 5))
    cell = found.cell("fog", 3)
    assert len(found.classes) == len(cell.classes) == 1000
    batch = cell.batch(torch.tensor([1, 0]))
    assert batch.y.tolist() == [967, 285]
    assert batch.x.shape == (2, 3, 12, 12)  # as they are: neither scaled nor cut
    assert greys(cell, 0, 1) == [130, 131]
    assert cell.name == "c, fog at severity 3"


def test_as_one_data_set_it_is_all_cells_one_after_the_other(tmp_path: Path) -> None:
    found = imagenet_c(copies(tmp_path / "c"))
    assert len(found) == 20
    assert greys(found, *range(20)) == [*(100 + 10 * s + k for s in range(1, 6) for k in (0, 1)),
                                        *(10 * s + k for s in range(1, 6) for k in (0, 1))]  # fmt: skip
    mixed = found.batch(torch.tensor([13, 0, 5]))
    assert mixed.ids.tolist() == [13, 0, 5]
    assert mixed.y.tolist() == [967, 285, 967]
    assert greys(found, 13, 0, 5) == [21, 110, 131]
    assert len(found.sha256) == 64
    assert found.sha256 != imagenet_c(copies(tmp_path / "d", ("snow",))).sha256


def test_images_are_scaled_only_on_request(tmp_path: Path) -> None:
    found = imagenet_c(copies(tmp_path / "c"), size=8)
    assert found.cell("snow", 1).batch(torch.tensor([0])).x.shape == (1, 3, 8, 8)


def test_a_missing_cell_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="c has no frost at severity 1; it has fog, snow at severities 1, 2, 3, 4, 5"):
        imagenet_c(copies(tmp_path / "c")).cell("frost", 1)


def test_folders_that_are_not_imagenet_c_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        imagenet_c(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no corrupted images: there should be folders such as .*fog/3"):
        load(f"imagenet-c:{copies(tmp_path / 'c') / 'fog'}")
    with pytest.raises(DataError, match=r"folders that are no ImageNet class: cat; .* read by corrupted:PATH"):
        imagenet_c(copies(tmp_path / "own", classes=("cat", ESPRESSO)))
    with pytest.raises(DataError, match="folders that are no class: n00000000"):
        imagenet_c(copies(tmp_path / "zero", classes=("n00000000",)))
    picture(copies(tmp_path / "odd") / "snow" / "2" / "n01440764" / "x.png", 0)
    with pytest.raises(DataError, match=r"snow/2 has other classes than .*fog/1: n01440764"):
        imagenet_c(tmp_path / "odd")
    picture(copies(tmp_path / "more") / "rain" / "1" / CAT / "x.png", 0)
    with pytest.raises(DataError, match="rain has no severity 2, other corruptions do: is it complete"):
        imagenet_c(tmp_path / "more")


def test_an_image_that_only_some_cells_have_is_named(tmp_path: Path) -> None:
    (copies(tmp_path / "c") / "snow" / "2" / CAT / "val_1.JPEG").unlink()
    found = imagenet_c(tmp_path / "c")
    assert greys(found.cell("snow", 2), 1) == [21]
    with pytest.raises(DataError, match=r"snow/2/n02124075/val_1.JPEG cannot be read as an image"):
        found.cell("snow", 2).batch(torch.tensor([0]))


def test_ones_own_classes_are_read_as_corrupted_folders(tmp_path: Path) -> None:
    found = load(f"corrupted:{copies(tmp_path / 'own', classes=('cat', 'dog'))}", channels=1)
    assert found.classes == ("cat", "dog")
    assert found.batch(torch.tensor([0])).x.shape == (1, 1, 12, 12)
    assert corrupted_folders(tmp_path / "own").corruptions == ("fog", "snow")


def test_none_of_them_is_a_training_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="imagenet-c has no split 'train': all of it is for testing"):
        load(f"imagenet-c:{copies(tmp_path / 'c')}", split="train")


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """Four images at each of five severities; the first value of each is its number among all 20."""
    x = np.zeros((20, 32, 32, 3), np.uint8)
    x[:, 0, 0, 0] = np.arange(20)
    x[:, 0, 1, 1] = 7
    np.save(tmp_path / "fog.npy", x)
    np.save(tmp_path / "frost.npy", x + 100)
    np.save(tmp_path / "labels.npy", np.tile(np.array([3, 9, 0, 1]), 5))
    return tmp_path


def test_cifar_c_is_read_by_severity(cifar: Path) -> None:
    found = load(f"cifar-c:{cifar}")
    assert isinstance(found, CorruptedCopies)
    assert (found.corruptions, found.severities, len(found)) == (("fog", "frost"), (1, 2, 3, 4, 5), 40)
    assert (found.classes[3], found.classes[9]) == ("cat", "truck")
    cell = found.cell("frost", 3)
    batch = cell.batch(torch.tensor([3, 0]))
    assert batch.x.shape == (2, 3, 32, 32)
    assert (batch.x[:, 0, 0, 0] * 255).round().tolist() == [111, 108]
    assert (batch.x[:, 1, 0, 1] * 255).round().tolist() == [107, 107]
    assert batch.y.tolist() == [1, 3]
    assert found.batch(torch.tensor([20 + 11])).y.tolist() == [1]


def test_arrays_stay_on_disk_until_images_are_read(cifar: Path) -> None:
    assert isinstance(vars(cifar_c(cifar).cell("fog", 1))["x"], np.memmap)


def test_grey_arrays_labels_given_once_and_other_classes(tmp_path: Path) -> None:
    np.save(tmp_path / "fog.npy", np.arange(10, dtype=np.uint8).reshape(10, 1, 1) + np.zeros((1, 28, 28), np.uint8))
    np.save(tmp_path / "labels.npy", np.array([1, 4], np.uint8))
    found = load(f"corrupted:{tmp_path}")
    assert found.classes == ("0", "1", "2", "3", "4")
    assert found.batch(torch.tensor([9])).x.shape == (1, 1, 28, 28)
    assert greys(found, 9, 2) == [9, 2]
    assert cifar_c(tmp_path, classes=("a", "b", "c", "d", "e")).classes[4] == "e"


def test_arrays_that_do_not_fit_are_refused(cifar: Path) -> None:
    labels = np.load(cifar / "labels.npy")
    np.save(cifar / "labels.npy", labels[::-1])
    cifar_c(cifar)
    np.save(cifar / "labels.npy", np.r_[labels[:4], labels[:16][::-1]])
    with pytest.raises(DataError, match=r"labels.npy does not repeat the same labels"):
        cifar_c(cifar)
    np.save(cifar / "labels.npy", labels[:19])
    with pytest.raises(DataError, match=r"fog.npy holds 20 images and labels.npy int64 of shape \(19,\)"):
        cifar_c(cifar)
    np.save(cifar / "fog.npy", np.zeros((20, 32, 32, 3)))
    with pytest.raises(DataError, match=r"fog.npy holds float64 of shape \(20, 32, 32, 3\), expected images"):
        cifar_c(cifar)
    (cifar / "fog.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"fog.npy cannot be read as an array"):
        cifar_c(cifar)
    (cifar / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"holds no labels.npy: CIFAR-10-C has files"):
        load(f"cifar-c:{cifar}")
    with pytest.raises(DataError, match="there is no folder"):
        load(f"cifar-c:{cifar}/nowhere")
