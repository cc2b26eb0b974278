"""Data sets of torchvision by name: splits, classes, sizes, downloads and refusals."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.datasets.utils import verify_str_arg
from torchvision.datasets.vision import VisionDataset

from robustlab.core.errors import DataError
from robustlab.data import describe, load

COUNTS = {"train": 6, "val": 2, "trainval": 8, "test": 4}


class Leaves(VisionDataset):  # type: ignore[misc]  # torchvision has no types
    """A set like Flowers102: files below the root, splits by their names, labels of its own."""

    names: tuple[str, ...] = ("train", "val", "test")
    online, sizes, mode = True, ((30, 20),), "RGB"
    labelled_in = "_labels"
    made: list[tuple[str, bool]] = []  # noqa: RUF012 -- what was asked for, by the test

    def __init__(
        self,
        root: Path,
        split: str = "train",
        transform: object = None,
        target_transform: object = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = verify_str_arg(split, "split", self.names)
        self.folder = Path(root) / "leaves"
        type(self).made.append((Path(root).name, download))
        if download and not self.folder.is_dir():
            self.fetched()
        if not self.folder.is_dir():
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        setattr(self, self.labelled_in, [number % 3 for number in range(COUNTS[split])])

    def fetched(self) -> None:
        """Puts the pictures where they belong."""
        self.folder.mkdir(parents=True)
        if not self.online:
            raise urllib.error.URLError("no way out")
        for number in range(8):
            size = self.sizes[number % len(self.sizes)]
            grey = Image.new("L", size, 20 * number)
            grey.convert(self.mode).save(self.folder / f"{number}.png")

    def __len__(self) -> int:
        return len(getattr(self, self.labelled_in))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return Image.open(self.folder / f"{index}.png"), getattr(self, self.labelled_in)[index]


class Numbers(Leaves):
    """A set like CIFAR-10, which has train= and names of classes."""

    classes = ("oak", ("ash", "mountain ash"), "elm")

    def __init__(
        self,
        root: Path,
        train: bool = True,
        transform: object = None,
        target_transform: object = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, "train" if train else "test", transform, target_transform, download)


@pytest.fixture(autouse=True)
def _there(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Leaves, Numbers):
        monkeypatch.setattr(datasets, kind.__name__, kind, raising=False)
    monkeypatch.setattr(Leaves, "made", [])


@pytest.mark.parametrize(
    ("name", "own", "counts"),
    [
        ("Leaves", ("train", "val", "test"), {"train": 6, "valid": 2, "val": 2, "test": 4, "all": 12}),
        ("leaves", ("trainval", "test"), {"train": 8, "trainval": 8, "test": 4, "all": 12}),
        ("Numbers", ("train", "test"), {"train": 6, "test": 4, "all": 10}),
    ],
)
def test_splits_are_found_by_their_usual_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, own: tuple[str, ...], counts: dict[str, int]
) -> None:
    monkeypatch.setattr(Leaves, "names", own)
    for split, count in counts.items():
        found = load(f"torchvision:{name}", split=split, root=tmp_path)
        assert (len(found), found.name) == (count, f"{name.capitalize()} {split}")
        assert found.batch(torch.arange(count)).x.shape == (count, 3, 20, 30)
    fetched = [root for root, download in Leaves.made if download]
    assert [root.startswith(f".{name.capitalize()}.") and root.endswith(".part") for root in fetched] == [True]


def test_labels_and_classes_are_the_sets_own_or_numbers(tmp_path: Path) -> None:
    leaves, numbers = (load(f"torchvision:{name}", split="train", root=tmp_path) for name in ("Leaves", "Numbers"))
    assert (leaves.classes, numbers.classes) == (("0", "1", "2"), ("oak", "ash, mountain ash", "elm"))
    assert leaves.batch(torch.tensor([4, 2, 0])).y.tolist() == [1, 2, 0]


def test_images_are_brought_to_one_size_as_those_in_folders_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Leaves, "sizes", ((30, 20), (20, 30)))
    with pytest.raises(DataError, match=r"Leaves has images of 30x20 and 20x30 pixels: give size=, say 224"):
        load("torchvision:Leaves", split="train", root=tmp_path)
    found = load("torchvision:Leaves", split="train", size=16, root=tmp_path)
    x = found.batch(torch.arange(6)).x
    assert x.shape == (6, 3, 16, 16)
    torch.testing.assert_close(x[3], torch.full((3, 16, 16), 60 / 255))
    folder = tmp_path / "folder"
    (folder / "a").mkdir(parents=True)
    (tmp_path / "torchvision/Leaves/leaves/3.png").rename(folder / "a" / "3.png")
    assert torch.equal(load(f"folder:{folder}", size=16).batch(torch.tensor([0])).x[0], x[3])


def test_images_are_read_on_demand(tmp_path: Path) -> None:
    found = load("torchvision:Leaves", split="train", root=tmp_path)
    for file in (tmp_path / "torchvision/Leaves/leaves").iterdir():
        Image.new("RGB", (30, 20), (255, 255, 255)).save(file)
    assert float(found.batch(torch.tensor([1])).x.min()) == 1.0
    (tmp_path / "torchvision/Leaves/leaves/5.png").unlink()
    with pytest.raises(DataError, match="number 5 is missing"):
        found.batch(torch.tensor([5]))


def test_grey_images_stay_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leaves, "mode", "L")
    assert load("torchvision:Leaves", split="test", root=tmp_path).batch(torch.tensor([0])).x.shape == (1, 1, 20, 30)


def test_offline_the_error_names_the_cause_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leaves, "online", False)
    place = tmp_path / "torchvision" / "Leaves"
    said = rf"Leaves is not available: it is not in {place}, and torchvision says: urlopen error no way out; go online"
    with pytest.raises(DataError, match=said):
        load("torchvision:Leaves", split="train", root=tmp_path)
    assert [path.name for path in place.parent.iterdir()] == ["Leaves.lock"]
    (place.parent / ".Leaves.0123456789ab.part" / "leaves").mkdir(parents=True)  # a process was killed here
    monkeypatch.setattr(Leaves, "online", True)
    assert len(load("torchvision:Leaves", split="train", root=tmp_path)) == 6
    assert not list(place.parent.glob("*.part"))
    monkeypatch.setattr(Leaves, "online", False)
    assert len(load("torchvision:Leaves", split="test", root=tmp_path)) == 4, "it is there"


def test_a_set_without_download_is_read_from_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Kept(Leaves):
        def __init__(
            self, root: Path, split: str = "train", transform: object = None, target_transform: object = None
        ) -> None:
            super().__init__(root, split, transform, target_transform)

    monkeypatch.setattr(datasets, "Kept", Kept, raising=False)
    with pytest.raises(DataError, match=r"torchvision's Kept is not available: .* says: Dataset not found"):
        load("torchvision:Kept", split="train", root=tmp_path)
    Leaves(tmp_path / "torchvision" / "Kept", download=True)
    assert len(load("torchvision:Kept", split="train", root=tmp_path)) == 6


def _of(item: object) -> type[Leaves]:
    """A set with such items."""

    class Odd(Leaves):
        def __getitem__(self, index: int) -> object:  # type: ignore[override]
            return item

    return Odd


GREY = Image.new("L", (4, 4))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ((GREY, torch.zeros(40)), "Image, Tensor, not an image and the number of its class"),
        ((GREY, GREY), "Image, Image, not"),
        ((GREY, GREY, 1), "Image, Image, int, not"),
        ((GREY, {"boxes": 3}), "Image, dict, not"),
        ((torch.zeros(3, 4, 4), 1), "Tensor, int, not"),
    ],
)
def test_items_that_are_no_image_and_class_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, item: object, said: str
) -> None:
    monkeypatch.setattr(datasets, "Odd", _of(item), raising=False)
    with pytest.raises(ValueError, match=f"an item of torchvision's Odd is {said}"):
        load("torchvision:Odd", split="train", root=tmp_path)


def test_a_set_that_does_not_say_its_classes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Leaves):
        labelled_in = "hidden"

    monkeypatch.setattr(datasets, "Silent", Silent, raising=False)
    with pytest.raises(ValueError, match="torchvision's Silent has no list of its classes: make it yourself and wrap"):
        load("torchvision:Silent", split="train", root=tmp_path)


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        ("Flower", "train", "torchvision has no data set 'Flower'; there are .*Flowers102"),
        ("FakeData", "train", "torchvision's FakeData is not made from a name and a split alone: make it yourself"),
        ("Kinetics", "train", "torchvision's Kinetics is not made from a name and a split alone"),
        ("EuroSAT", "train", "torchvision's EuroSAT is not made from a name and a split alone"),
        ("Leaves", "moon", "torchvision's Leaves: Unknown value 'moon' for argument split. Valid values are .*'val'"),
        ("Numbers", "valid", "torchvision's Numbers has no split 'valid': choose train, test or all"),
    ],
)
def test_unknown_sets_and_splits_are_refused_before_anything_is_fetched(
    tmp_path: Path, name: str, split: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        load(f"torchvision:{name}", split=split, root=tmp_path)
    assert not any(download for _, download in Leaves.made)


def test_the_rule_takes_the_sets_for_classification() -> None:
    """Signatures of the installed torchvision; nothing is fetched."""
    from robustlab.data.torchvision_sets import fits

    wanted = "CIFAR10 CIFAR100 DTD FGVCAircraft Flowers102 Food101 GTSRB MNIST OxfordIIITPet STL10 SVHN"
    assert all(fits(getattr(datasets, name)) for name in wanted.split())
    others = "FakeData ImageFolder CocoDetection VOCDetection EMNIST KittiFlow HMDB51 ImageNet VisionDataset"
    assert not any(fits(getattr(datasets, name)) for name in others.split())
    assert "torchvision:NAME" in [one.name for one in describe()]
