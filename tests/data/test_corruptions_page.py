"""The code on the page about published sets runs, on tiny sets of the same layouts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from robustlab.data import imagenet_a_classes
from robustlab.data.imagenet import imagenet_synsets
from robustlab.data.layouts import LAYOUTS

PAGE = (Path(__file__).parents[2] / "docs/guide/corruptions.md").read_text()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """ImageNet, -A, -C and -O with a picture or two for each class."""
    synsets = imagenet_synsets()
    shown = [synsets[number] for number in imagenet_a_classes().tolist()]
    folders = [tmp_path / "imagenet-a" / name for name in shown]
    folders += [tmp_path / "imagenet-o" / name for name in synsets[:201] if name != shown[0]]
    folders += [tmp_path / "imagenet" / "val" / synsets[number] for number in (1, 2, 999)]
    folders += [tmp_path / "imagenet-c" / "fog" / str(severity) / shown[0] for severity in (1, 3)]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        Image.new("RGB", (6, 5), (number % 256, 0, 0)).save(folder / "a.png")
    return tmp_path


@pytest.mark.slow
def test_the_code_on_the_page_runs(data: Path) -> None:
    weight = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))

    def model(x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) @ weight

    given: dict[str, object] = {"model": model}
    blocks = re.findall(r"```python\n(.*?)```", PAGE[: PAGE.index("are resampled separately")], re.DOTALL)
    for block in blocks:
        exec(block.replace("/data/", f"{data}/"), given)
    assert len(blocks) >= 4
    assert given["result"].full.accuracy.n == 200  # type: ignore[attr-defined]  # of what the page made
    assert len(given["known"]) == 2  # type: ignore[arg-type]  # class 999 is none of ImageNet-O's


def test_the_page_names_every_layout() -> None:
    assert [kind for kind in LAYOUTS if f"`{kind}:PATH`" not in PAGE] == []
