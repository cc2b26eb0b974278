"""Image folders: layout, labels, sizes, and their faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustlab.core.errors import DataError
from robustlab.core.types import Examples
from robustlab.data import examples, imagenet_classes, load
from robustlab.data.folder import image_folder
from robustlab.data.framing import Framing


def picture(path: Path, colour: tuple[int, int, int] = (0, 0, 0), size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    picture(tmp_path / "pets" / "dog" / "b.png", (51, 102, 153))
    picture(tmp_path / "pets" / "cat" / "a.png", (255, 0, 0))
    picture(tmp_path / "pets" / "cat" / "deeper" / "c.PNG", (0, 255, 0))
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / ".cache").mkdir()
    return tmp_path / "pets"


def test_folders_are_classes_by_alphabet_and_images_are_in_unit_range(pets: Path) -> None:
    found = load(f"folder:{pets}")
    assert isinstance(found, Examples)
    assert (len(found), found.classes) == (3, ("cat", "dog"))
    batch = found.batch(torch.tensor([2, 0]))
    assert batch.x.shape == (2, 3, 8, 8)
    assert batch.x[0, :, 0, 0].tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert batch.y.tolist() == [1, 0]
    assert batch.ids.tolist() == [2, 0]


def test_grey_images_have_one_channel(pets: Path) -> None:
    assert load(f"folder:{pets}", channels=1).batch(torch.tensor([0])).x.shape == (1, 1, 8, 8)


def test_the_users_order_of_classes_is_kept(pets: Path) -> None:
    found = image_folder(pets, classes=("fish", "dog", "cat"))
    assert found.batch(torch.arange(3)).y.tolist() == [2, 2, 1]
    with pytest.raises(DataError, match="has folders that are no class: cat"):
        image_folder(pets, classes=("dog",))


def test_imagenets_synsets_get_imagenets_numbers(tmp_path: Path) -> None:
    picture(tmp_path / "n07920052" / "a.png")
    picture(tmp_path / "n02124075" / "b.png")
    found = examples(tmp_path)
    assert found.batch(torch.arange(2)).y.tolist() == [285, 967]
    assert found.classes[285] == imagenet_classes()[285] == "Egyptian cat"
    assert len(found.classes) == 1000


def test_a_split_is_a_sub_folder(tmp_path: Path) -> None:
    for split in ("train", "val"):
        picture(tmp_path / split / "one" / f"{split}.png")
    assert image_folder(tmp_path, split="valid").paths == ("one/val.png",)
    with pytest.raises(DataError, match="has the splits train, val, but not 'test'"):
        image_folder(tmp_path, split="test")


def test_a_folder_without_splits_is_no_training_set(pets: Path) -> None:
    with pytest.raises(DataError, match=r"has no sub-folder 'train'.* or divide split 'all' with robustlab.data.parts"):
        load(f"folder:{pets}", split="train")


def test_the_shorter_side_is_scaled_and_the_centre_cut_out() -> None:
    ramp = np.tile(np.linspace(0, 255, 300).astype(np.uint8)[None, :, None], (150, 1, 3))
    framed = Framing(size=70, crop=0.7)(Image.fromarray(ramp))
    assert framed.shape == (3, 70, 70)
    # 300x150 becomes 200x100; columns 65..134 of the 200 remain, whose grey levels run from 83 to 172.
    assert framed[0, 0, 0].item() == pytest.approx(255 * 65.5 / 200, abs=1.5)
    assert framed[0, 0, -1].item() == pytest.approx(255 * 134.5 / 200, abs=1.5)


def test_an_image_of_the_right_size_is_left_alone() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert torch.equal(Framing(size=20)(Image.fromarray(noise)), torch.from_numpy(noise).permute(2, 0, 1))


def test_images_of_different_sizes_need_a_size(pets: Path) -> None:
    picture(pets / "dog" / "wide.png", size=(16, 8))
    with pytest.raises(DataError, match=r"images of \(3, 8, 8\) and \(3, 8, 16\) \(dog/wide.png\): give size="):
        load(f"folder:{pets}").batch(torch.arange(4))
    assert load(f"folder:{pets}", size=8).batch(torch.arange(4)).x.shape == (4, 3, 8, 8)


def test_a_truncated_image_is_named(pets: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(pets / "dog" / "x.jpg")
    whole = (pets / "dog" / "x.jpg").read_bytes()
    (pets / "dog" / "x.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"x.jpg cannot be read as an image: .*truncated"):
        load(f"folder:{pets}").batch(torch.tensor([3]))


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        load(f"folder:{tmp_path / 'none'}")
    with pytest.raises(DataError, match="has no sub-folders"):
        load(f"folder:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no image"):
        load(f"folder:{tmp_path}")
    with pytest.raises(ValueError, match="crop in"):
        Framing(crop=0.0)


def test_the_hash_sees_a_changed_image(pets: Path) -> None:
    known = image_folder(pets).sha256
    assert image_folder(pets).sha256 == known
    assert image_folder(pets, framing=Framing(size=4)).sha256 != known
    picture(pets / "dog" / "b.png", (51, 102, 154))
    assert image_folder(pets).sha256 != known
