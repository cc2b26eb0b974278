"""Images of every mode and files of every fault: the right values, or one sentence that names the file."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.data import examples, load, read_image
from robustlab.data.folder import ImageFolder
from robustlab.data.framing import Framing, PublishedFraming

GREY = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)
DEEP = GREY.astype(np.uint16) * 257 + (GREY == 51).astype(np.uint16)
"""Grey levels of 16 bits, one of them between two of 8 bits."""


def grey(values: NDArray[np.integer[Any]] = GREY, top: float = 255) -> Tensor:
    return torch.from_numpy(values.astype(np.float64) / top).float()[None]


def colour() -> Tensor:
    return torch.from_numpy(COLOUR.astype(np.float64) / 255).float().permute(2, 0, 1)


def faded(mode: str) -> Image.Image:
    """An image with transparency."""
    alpha = np.full(GREY.shape, 128, np.uint8)
    values = np.dstack([GREY, alpha] if mode == "LA" else [COLOUR, alpha])
    return Image.fromarray(values, mode=None)


def palette(transparency: object = None) -> Image.Image:
    image = Image.fromarray(COLOUR).quantize(6)
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def sixteen(mode: str) -> Image.Image:
    order = ">" if mode == "I;16B" else "<"
    return Image.frombytes(mode, (3, 2), DEEP.astype(f"{order}u2").tobytes())


MODES: dict[str, tuple[Callable[[], Image.Image], Tensor, float]] = {
    "1": (lambda: Image.fromarray(GREY > 100), grey((GREY > 100) * 255), 0),
    "L": (lambda: Image.fromarray(GREY), grey(), 0),
    "LA": (lambda: faded("LA"), grey(), 0),
    "La": (lambda: faded("LA").convert("La"), grey(), 2 / 255),
    "P": (lambda: palette(), colour(), 1 / 255),
    "P, one colour transparent": (lambda: palette(0), colour(), 1 / 255),
    "P, half transparent": (lambda: palette(bytes([0, 128])), colour(), 1 / 255),
    "PA": (lambda: palette().convert("PA"), colour(), 1 / 255),
    "RGB": (lambda: Image.fromarray(COLOUR), colour(), 0),
    "RGBA": (lambda: faded("RGBA"), colour(), 0),
    "RGBa": (lambda: faded("RGBA").convert("RGBa"), colour(), 2 / 255),
    "RGBX": (lambda: Image.fromarray(COLOUR).convert("RGBX"), colour(), 0),
    "CMYK": (lambda: Image.fromarray(COLOUR).convert("CMYK"), colour(), 1 / 255),
    "YCbCr": (lambda: Image.fromarray(COLOUR).convert("YCbCr"), colour(), 3 / 255),
    "HSV": (lambda: Image.fromarray(COLOUR).convert("HSV"), colour(), 8 / 255),
    "I;16": (lambda: sixteen("I;16"), grey(DEEP, 65535), 1e-7),
    "I;16L": (lambda: sixteen("I;16L"), grey(DEEP, 65535), 1e-7),
    "I;16B": (lambda: sixteen("I;16B"), grey(DEEP, 65535), 1e-7),
    "I;16N": (lambda: sixteen("I;16N"), grey(DEEP, 65535), 1e-7),
    "I": (lambda: Image.fromarray(DEEP.astype(np.int32)), grey(DEEP, 65535), 1e-7),
    "F": (lambda: Image.fromarray((GREY / 255).astype(np.float32)), grey(), 1e-7),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_has_its_values(name: str) -> None:
    make, expected, off = MODES[name]
    image = make()
    assert image.mode == name.partition(",")[0]
    found = read_image(image)
    assert (found.dtype, found.shape) == (torch.float32, expected.shape)
    assert float((found - expected).abs().max()) <= off
    three, one = read_image(image, channels=3), read_image(image, channels=1)
    assert (three.shape, one.shape) == ((3, 2, 3), (1, 2, 3))
    assert torch.equal(three, found.expand(3, 2, 3))
    luma = (three * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=0, keepdim=True)
    assert float((one - luma).abs().max()) <= 1 / 255 + 1e-6


def test_lab_is_converted() -> None:
    image = Image.merge("LAB", [Image.new("L", (2, 2), value) for value in (255, 128, 128)])
    assert float((read_image(image) - 1).abs().max()) <= 2 / 255
    assert read_image(image, channels=1).shape == (1, 2, 2)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(np.array([[0, 255]], np.float32)), r"floats \(mode F\) in \[0, 255\]: scale them to \[0, 1\]"),
        (Image.fromarray(np.array([[0.5, np.nan]], np.float32)), r"floats \(mode F\)"),
        (Image.fromarray(np.array([[0, 70000]], np.int32)), r"\(mode I\) are in \[0, 70000\]: scale them to 0..65,535"),
        (Image.fromarray(np.array([[-1, 7]], np.int32)), r"are in \[-1, 7\]"),
        (Image.fromarray(np.array([[0, 200]], np.int32)), "of 8 bits or 16: convert it to L or I;16"),
    ],
)
def test_values_without_a_scale_are_refused(image: Image.Image, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_image(image)
    with pytest.raises(DataError, match=f"item 0 of mine cannot be read: .*{message}"):
        examples([(image, 0)], classes=2, name="mine").batch(torch.tensor([0]))


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "deep.pgm"])
def test_files_of_sixteen_bits_keep_their_levels_everywhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(DEEP).save(tmp_path / "a" / name)
    assert torch.allclose(read_image(tmp_path / "a" / name), grey(DEEP, 65535), atol=1e-7, rtol=0)
    found = load(f"folder:{tmp_path}").batch(torch.tensor([0])).x
    assert torch.allclose(found[0], grey(DEEP, 65535).expand(3, 2, 3), atol=1e-7, rtol=0)


@pytest.mark.parametrize("framing", [Framing(8), Framing(8, channels=1), PublishedFraming(8)])
def test_scaling_keeps_the_level_of_a_deep_image(framing: Callable[[Image.Image], Tensor]) -> None:
    half = np.full((20, 30), 32768, np.uint16)
    half[:, 15:] = 65535
    found = framing(Image.fromarray(half))
    assert found.dtype is torch.float32
    assert float(found[:, :, 0].mean()) == pytest.approx(0.5, abs=0.01)
    assert 0.9 < float(found[:, :, -1].mean()) <= float(found.max()) <= 1


def test_a_folder_may_mix_grey_colour_and_deep_images(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, values in (("deep", DEEP), ("grey", GREY), ("rgb", COLOUR)):
        Image.fromarray(values).save(tmp_path / "a" / f"{name}.png")
    found = load(f"folder:{tmp_path}").batch(torch.arange(3)).x
    assert torch.allclose(found[1], grey().expand(3, 2, 3))
    assert float((found[0] - found[1]).abs().max()) < 1 / 65000
    assert torch.equal(found[2], colour())


def tiff(path: Path, bits: int, pixels: bytes, white_is_zero: int) -> None:
    """A TIFF of two grey pixels."""
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: 1 - white_is_zero, 273: 8, 277: 1, 278: 1, 279: len(pixels)}
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    head = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    path.write_bytes(head + pixels + struct.pack("<H", len(tags)) + body + b"\0" * 4)


@pytest.mark.parametrize(
    ("bits", "pixels", "white_is_zero", "expected"),
    [
        (12, bytes([0x80, 0x0F, 0xFF, 0]), 0, [0x800 / 0xFFF, 1]),
        (16, struct.pack("<HH", 0x8000, 0xFFFF), 0, [0x8000 / 0xFFFF, 1]),
        (16, struct.pack("<HH", 0x4000, 0xFFFF), 1, [1 - 0x4000 / 0xFFFF, 0]),
    ],
)
def test_a_tiff_is_scaled_by_its_number_of_bits(
    tmp_path: Path, bits: int, pixels: bytes, white_is_zero: int, expected: list[float]
) -> None:
    tiff(tmp_path / "x.tif", bits, pixels, white_is_zero)
    assert read_image(tmp_path / "x.tif").flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_the_cameras_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    upright = Image.fromarray(COLOUR)
    stored = upright if back is None else upright.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"photo.{suffix}", exif=exif, lossless=True)
    assert torch.equal(read_image(tmp_path / f"photo.{suffix}"), colour())


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "photo.png", exif=b"Exif\0\0MM\0*\0\0\0")
    assert torch.equal(read_image(tmp_path / "photo.png"), colour())


def animation(path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, loop=0)


def bomb(path: Path) -> None:
    """A PNG whose head promises 40,000 x 40,000 pixels."""
    Image.new("RGB", (4, 4)).save(path)
    raw = bytearray(path.read_bytes())
    raw[16:24] = (40000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(bytes(raw[12:29])).to_bytes(4, "big")
    path.write_bytes(raw)


def half(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


SCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
FAULTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "text": ("x.png", lambda path: path.write_text("no image"), "cannot be read as an image, whatever its name says"),
    "empty": ("x.jpg", lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    "half a PNG": ("x.png", half, "cannot be read as an image: .*"),
    "half a JPEG": ("x.JPG", half, "cannot be read as an image: .*truncated"),
    "half a GIF": ("x.gif", half, "cannot be read as an image: .*"),
    "half a TIFF": ("x.tif", half, "cannot be read as an image.*"),
    "bomb": ("x.png", bomb, "has more pixels than is safe to decode"),
    "animated GIF": ("x.gif", animation, "cannot be read as an image: it holds 2 frames or pages"),
    "animated PNG": ("x.png", animation, "cannot be read as an image: it holds 2 frames or pages"),
    "animated WebP": ("x.webp", animation, "cannot be read as an image: it holds 2 frames or pages"),
    "pages": ("x.tiff", animation, "cannot be read as an image: it holds 2 frames or pages"),
    "script": (
        "x.png",
        lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "cannot be read as an image, whatever",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_faulty_file_is_named_in_one_sentence(tmp_path: Path, kind: str) -> None:
    name, make, message = FAULTS[kind]
    path = tmp_path / "class" / name
    path.parent.mkdir()
    make(path)
    with pytest.raises(DataError, match=rf"{name} {message}") as caught:
        load(f"folder:{tmp_path}", size=4).batch(torch.tensor([0]))
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere.png")
    for name, message in (
        ("folder.jpg", "is a folder"),
        ("link.png", "is a link to nowhere.png"),
        ("no.png", "cannot"),
    ):
        with pytest.raises(DataError, match=f"{name} {message}"):
            read_image(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "x.png")
    (tmp_path / "x.png").chmod(0)
    with pytest.raises(DataError, match=r"x.png may not be read"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_images_of_one_pixel_are_images(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (51, 102, 153)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").shape == (3, size[1], size[0])
    framed = ImageFolder("x", ("a",), tmp_path, ("x.png",), torch.zeros(1).long(), Framing(8)).batch(torch.tensor([0]))
    assert torch.allclose(framed.x, torch.tensor([0.2, 0.4, 0.6])[None, :, None, None].expand(1, 3, 8, 8))


def test_listing_a_folder_leaves_no_image_out_silently(tmp_path: Path) -> None:
    home = tmp_path / "class"
    (home / "album.jpg").mkdir(parents=True)
    for name in ("a.PNG", "b.Jpeg", "c.jfif", "album.jpg/d.bmp"):
        Image.fromarray(GREY).save(home / name, format="JPEG" if "j" in name[2:4] else None)
    for name in ("._a.PNG", "Thumbs.db", ".DS_Store", "notes.txt"):
        (home / name).write_bytes(b"of no picture")
    found = load(f"folder:{tmp_path}")
    assert isinstance(found, ImageFolder)
    assert found.paths == ("class/a.PNG", "class/album.jpg/d.bmp", "class/b.Jpeg", "class/c.jfif")
    (home / "link.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"link.png is a link to a file that is not there"):
        load(f"folder:{tmp_path}")
    (home / "link.png").unlink()
    (home / "phone.HEIC").write_bytes(b"ftypheic")
    with pytest.raises(DataError, match=r"phone.HEIC is a HEIC file, which is not read here: convert it"):
        load(f"folder:{tmp_path}")
