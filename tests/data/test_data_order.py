"""The order of classes from files and folders; folders with a wrong layout."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from PIL import Image

from robustlab.core.errors import DataError
from robustlab.data import examples, load
from robustlab.data.class_order import ordered
from robustlab.data.folder import image_folder


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        picture(tmp_path / "pets" / name / f"{name}.png")
    return tmp_path / "pets"


FILES = {
    "classes.txt": "dog\n\nfish\ncat\n",
    "windows.txt": "\ufeffdog\r\nfish\r\ncat\r\n",
    "list.json": json.dumps(["dog", "fish", "cat"]),
    "to_idx.json": json.dumps({"cat": 2, "dog": 0, "fish": 1}),
    "index.json": json.dumps({"0": "dog", "1": "fish", "2": "cat"}),
    "id2label.json": json.dumps({"0": ["n1", "dog"], "1": ["n2", "fish"], "2": ["n3", "cat"]}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_the_order(pets: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name].encode())
    found = image_folder(pets, classes=tmp_path / name)
    assert found.classes == ("dog", "fish", "cat")
    assert found.y.tolist() == [2, 0]
    assert examples(pets, classes=str(tmp_path / name)).batch(torch.arange(2)).y.tolist() == [2, 0]


@pytest.mark.parametrize("inside", ["", "train"])
def test_the_folder_that_a_model_learned_from_gives_the_order(pets: Path, tmp_path: Path, inside: str) -> None:
    for name in ("bird", "cat", "dog", ".hidden", "__MACOSX"):
        picture(tmp_path / "learned" / inside / name / "x.png")
    found = image_folder(pets, classes=tmp_path / "learned")
    assert found.classes == ("bird", "cat", "dog")
    assert found.y.tolist() == [1, 2]


def test_synsets_in_a_file_match_folders_by_number_or_name(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n02123045 tabby cat\nn02123159 tiger cat\n")
    for root, name in (("numbers", "n02123159"), ("names", "tiger cat")):
        picture(tmp_path / root / name / "x.png")
        found = image_folder(tmp_path / root, classes=tmp_path / "words.txt")
        assert (found.classes, found.y.tolist()) == (("tabby cat", "tiger cat"), [1])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("twice.txt", "cat\ndog\ncat", "names the class cat twice"),
        ("none.txt", "\n", "names no class"),
        ("gap.json", '{"cat": 0, "dog": 2}', "its numbers are not 0..1"),
        ("broken.json", "[", "has no order of classes"),
        ("number.json", "3", "has no order of classes"),
        ("other.txt", "cat\nhorse", r"folders that are no class: dog; classes are cat, horse"),
    ],
)
def test_a_file_without_an_order_is_named(pets: Path, tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        image_folder(pets, classes=tmp_path / name)
    with pytest.raises(DataError, match=r"no\.txt has no order of classes \(No such file"):
        ordered(tmp_path / "no.txt")


def test_an_empty_class_folder_gets_advice_and_a_list_of_classes_helps(pets: Path) -> None:
    (pets / "eel").mkdir()
    with pytest.raises(DataError, match=r"eel holds no image .*delete the folder, or say which classes there are"):
        image_folder(pets)
    assert image_folder(pets, classes=("cat", "dog", "eel")).classes == ("cat", "dog", "eel")


@pytest.mark.parametrize("junk", ["__MACOSX/._cat.png", "@eaDir/x.png", ".git/x.png", "cat/.ipynb_checkpoints/x.png"])
def test_folders_of_programs_are_no_classes(pets: Path, junk: str) -> None:
    (pets / junk).parent.mkdir()
    (pets / junk).write_bytes(b"no image")
    found = image_folder(pets)
    assert (found.classes, found.paths) == (("cat", "dog"), ("cat/cat.png", "dog/dog.png"))


def test_images_outside_the_class_folders_give_a_warning(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture(pets / "loose.png")
    with caplog.at_level(logging.WARNING):
        assert len(image_folder(pets)) == 2
    assert "1 images beside the class folders are left out, such as loose.png" in caplog.text


def test_a_folder_of_images_alone_and_one_level_too_high_get_advice(pets: Path) -> None:
    picture(pets.parent / "flat" / "x.png")
    with pytest.raises(DataError, match=r"has images such as x\.png, but no sub-folders: put the images of each class"):
        image_folder(pets.parent / "flat")
    (pets.parent / "high").mkdir()
    pets.rename(pets.parent / "high" / "pets")
    with pytest.raises(DataError, match=r"one sub-folder, pets, in which the class folders lie \(cat, dog\): give "):
        image_folder(pets.parent / "high")


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    for name in ("car", "train"):
        picture(tmp_path / name / "x.png")
    assert image_folder(tmp_path).classes == ("car", "train")
    assert load(f"folder:{tmp_path}", split="test").classes == ("car", "train")


def test_a_place_alone_means_its_test_set(tmp_path: Path) -> None:
    for split in ("train", "val"):
        picture(tmp_path / split / "one" / f"{split}.png")
    for given in (tmp_path, str(tmp_path), f"folder:{tmp_path}"):
        found = examples(given)
        assert (found.name, len(found)) == (f"{tmp_path.name} val", 1)
    with pytest.raises(DataError, match=r"splits train, val, but not 'test': ask for one of them \(--split val\)"):
        load(f"folder:{tmp_path}", split="test")
