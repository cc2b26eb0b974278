"""Photographs of a user's own folder on the command line: their size, the order of their classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import save_file

from robustlab.cli import parse
from robustlab.cli.images import Images, NamedModel, framed
from robustlab.cli.main import main
from robustlab.core import CheckpointError
from robustlab.data import Framing
from robustlab.data.framing import PublishedFraming, framing_for
from robustlab.models import load
from robustlab.models.layers import Enlarge


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for number in range(6):
        place = tmp_path / "photos" / ("ant", "bee")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        values = generator.integers(0, 256, (30 + number, 50, 3), dtype=np.uint8)
        Image.fromarray(values).save(place / f"{number}.jpg")
    return tmp_path / "photos"


def run(*words: str) -> int:
    return main(list(words))


def evaluated(photos: Path, out: Path, *words: str) -> dict[str, object]:
    given = ["--data", f"folder:{photos}", "--attack", "fgsm", "--eps", "0.01", "--out", str(out), *words]
    assert run("evaluate", f"{__name__}:network", *given) == 0
    found: dict[str, object] = json.loads((out / "report.json").read_text())["data"]
    return found


def network() -> object:
    return load("shallow-cnn", classes=2, channels=3, size=16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "framing"),
    [
        ((), Framing(16)),
        (("--size", "16", "--resize", "squash"), Framing(16, resize="squash")),
        (("--resize", "pad", "--interpolation", "bilinear"), Framing(16, resize="pad", interpolation="bilinear")),
    ],
)
def test_the_result_says_how_photographs_got_their_size(
    photos: Path, tmp_path: Path, words: tuple[str, ...], framing: Framing, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(photos, tmp_path / "run", *words)
    assert found["shape"] == [3, 16, 16]
    assert found["framing"] == str(framing)
    assert str(framing) in (tmp_path / "run" / "report.html").read_text()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["data"]["framing"] == str(framing)
    capsys.readouterr()


TRAINED = ("--size", "16", "--resize", "squash", "--interpolation", "nearest")


def trained(photos: Path, out: Path, *command: str) -> Path:
    """The weights of a training on photographs that were squashed."""
    given = ["--data", f"folder:{photos}", "--split", "all", *TRAINED, "--out", str(out), "--seed", "1"]
    assert run(*command, *given) == 0
    return out / "model.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("train", "shallow-cnn", "--epochs", "1"),
        ("train", "batchnorm-cnn", "--epochs", "1", "--recipe", "advprop", "--activation", "silu"),
        ("noisy-student", "shallow-cnn", "--labels", "4", "--epochs", "1", "--rounds", "1", "--tune-epochs", "0"),
    ],
    ids=["train", "advprop", "noisy-student"],
)
def test_weights_keep_how_their_images_were_resized(
    photos: Path, tmp_path: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = trained(photos, tmp_path / "trained", *command)
    model = load(weights)
    own = Framing(16, resize="squash", interpolation="nearest")
    assert framing_for(model) == NamedModel(str(weights), model).framing() == own
    assert framed(Images(), own) == own
    assert framed(Images(8), own) == Framing(8, resize="squash", interpolation="nearest")
    assert framed(Images(8, "pad"), own) == Framing(8, resize="pad", interpolation="nearest")
    given = ("--data", f"folder:{photos}", "--attack", "fgsm", "--eps", "0.01", "--out", str(tmp_path / "run"))
    assert run("evaluate", str(weights), *given) == 0
    assert json.loads((tmp_path / "run" / "report.json").read_text())["data"]["framing"] == str(own)
    capsys.readouterr()


@pytest.mark.parametrize("word", ["stretch", 3, "crop/../..", "", "Crop"])
def test_a_weight_file_with_another_word_for_the_resizing_is_refused(tmp_path: Path, word: object) -> None:
    metadata = {"name": "shallow-cnn", "classes": 2, "channels": 3, "size": 16, "resize": word}
    save_file(dict(load("shallow-cnn", classes=2, channels=3, size=16).state_dict()), tmp_path / "m.safetensors",
              metadata={"architecture": json.dumps(metadata)})  # fmt: skip
    with pytest.raises(CheckpointError, match="resize is "):
        load(tmp_path / "m.safetensors")


RESIZED = (
    ("hard", f"{__name__}:network", "--data"),
    ("mine", "--quick", "--model", "shallow-cnn", "--folds", "2"),
    ("sweep", "attackers", f"{__name__}:network", "--quick", "--data"),
    ("noisy-student", "shallow-cnn", "--data"),
)


@pytest.mark.parametrize("command", RESIZED, ids=[words[0] for words in RESIZED])
def test_every_command_on_images_resizes_in_the_same_words(
    photos: Path, tmp_path: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    seen = list[object]()

    def read(_name: str, _split: str, images: Images, *_: object) -> None:
        seen.append(images)
        raise typer.BadParameter("it is enough")

    monkeypatch.setattr("robustlab.cli.images.read", read)
    words = (*command, f"folder:{photos}", *TRAINED, "--classes-from", str(photos), "--out", str(tmp_path / "out"))
    assert run(*(word for word in words if command[0] != "hard" or word not in ("--out", str(tmp_path / "out")))) == 2
    assert "it is enough" in capsys.readouterr().err
    assert seen == [Images(16, "squash", "nearest", photos)]


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["4", "6", "1000"])
def test_a_limit_is_the_most_that_is_drawn(photos: Path, tmp_path: Path, limit: str) -> None:
    found = evaluated(photos, tmp_path / "run", "--limit", limit, "--size", "16")
    assert (found["n"], found["population"]) == (min(int(limit), 6), 6)


def test_a_limit_beyond_the_images_under_corruptions_is_all_of_them(photos: Path, tmp_path: Path) -> None:
    words = ("--data", f"folder:{photos}", "--size", "16", "--corruptions", "fog", "--severities", "1", "--limit", "9")
    assert run("corruptions", "evaluate", f"{__name__}:network", *words, "--out", str(tmp_path / "run")) == 0
    assert json.loads((tmp_path / "run" / "corruptions.json").read_text())["data"]["n"] == 6


def test_the_order_of_classes_comes_from_a_file(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("wasp\nbee\nant\n")
    found = parse.data(str(photos), "test", size=Images(8, classes_from=tmp_path / "classes.txt"))
    assert found.classes == ("wasp", "bee", "ant")
    with pytest.raises(typer.BadParameter, match="--classes-from is for folders"):
        parse.data("digits", "test", size=Images(classes_from=tmp_path / "classes.txt"))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (Images(resize="stretch", size=8), "there is no --resize 'stretch': choose crop, squash, pad"),
        (Images(interpolation="cubic", size=8), "there is no --interpolation 'cubic'"),
        (Images(resize="pad"), "--resize and --interpolation need --size"),
    ],
)
def test_words_that_say_nothing_are_refused(images: Images, message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        framed(images, None)
    with pytest.raises(typer.BadParameter, match="digits has a size of its own"):
        parse.data("digits", "test", size=Images(8, "pad"))


def test_what_is_typed_wins_over_what_was_published(tmp_path: Path) -> None:
    net = load("timm:test_resnet", classes=2, pretrained=False)
    own = PublishedFraming(160, 0.95, "bilinear")
    named_model = NamedModel("timm:test_resnet", net)
    assert named_model.framing() == own
    assert framed(Images(), own) == own
    assert framed(Images(64), own) == Framing(64)
    assert framed(Images(resize="pad"), own) == Framing(160, resize="pad")
    (tmp_path / "model.safetensors").touch()
    assert NamedModel(str(tmp_path / "model.safetensors"), net).framing() == Framing(160)


@pytest.mark.parametrize("side", [32, 192])
def test_a_typed_size_reaches_networks_of_fixed_size(side: int) -> None:
    net = parse.model("timm:test_vit2", None, 2, torch.device("cpu"), size=side)
    assert net(torch.rand(1, 3, side, side)).shape == (1, 2)
    enlarged = any(isinstance(part, Enlarge) for part in net.modules())
    assert enlarged == (side == 32)  # larger images than the published are seen as they are


@pytest.mark.slow
def test_the_command_data_decodes_every_image(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (9, 7)).save(photos / "ant" / "grey.png")
    assert run("data", str(photos), "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["n"], found["classes"], found["sizes"]) == (7, 2, "7x9 to 35x50, 1 of them grey")
    for name in ("0.jpg", "4.jpg"):
        (photos / "ant" / name).write_bytes((photos / "ant" / name).read_bytes()[:400])
    (photos / "bee" / "text.png").write_text("no image")
    assert run("data", str(photos)) == 2
    output = " ".join(capsys.readouterr().err.split())
    assert output.count("cannot be read as an image") == 3
    assert "3 of 8 examples of" in output


def test_the_command_data_looks_at_all_parts_of_a_folder(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = photos.parent / "whole"
    whole.mkdir()
    photos.rename(whole / "train")
    (whole / "val" / "ant").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(whole / "val" / "ant" / "x.png")
    assert run("data", str(whole), "--json") == 0
    assert [one["n"] for one in json.loads(capsys.readouterr().out)] == [6, 1]
