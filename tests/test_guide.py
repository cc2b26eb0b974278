"""The guide names every finding that there is, and none besides."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
import torch
from tests.sources import ROOT, SRC, nodes, package
from torch import nn

from robustlab import regularization
from robustlab.core.registry import Registry
from robustlab.data import InMemory
from robustlab.data.framing import Resize
from robustlab.explain import CHECKS, DISTANCES, METHODS, NUMBERS
from robustlab.models import load


def _codes_in_source(*, on_texts: bool) -> set[str]:
    """First arguments of ``Finding`` and of the functions that make one, with names put in by hand."""
    found: set[str] = set()
    room = SRC / "evaluation"
    for path in package():
        if not path.is_relative_to(room) or path.is_relative_to(room / "text") != on_texts:
            continue
        for call in (node for node in nodes(path) if isinstance(node, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name in {"Finding", "_fault"} and call.args:
                found |= {text for part in ast.walk(call.args[0]) if (text := _code(part))}
    return found


def _code(node: ast.AST) -> str:
    text = str(node.value) if isinstance(node, ast.Constant) else ""
    return text if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", text) else ""


def test_the_guide_names_every_finding() -> None:
    named, on_texts = (
        set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", (ROOT / f"docs/guide/{page}.md").read_text()))
        for page in ("evaluation", "text")
    )
    assert _codes_in_source(on_texts=False) <= named
    assert _codes_in_source(on_texts=True) <= on_texts
    source = "".join(path.read_text() for path in (ROOT / "src/robustlab/evaluation").rglob("*.py"))
    unknown = {code for code in named if f'"{code}"' not in source and code.split("-beats-")[0] not in source}
    assert unknown == set()


@pytest.mark.parametrize(
    "registry", [METHODS, NUMBERS, CHECKS, DISTANCES], ids=["methods", "numbers", "checks", "distances"]
)
def test_the_guide_names_every_instrument_of_explanations(registry: Registry[object]) -> None:
    named = set(re.findall(r"`([a-z0-9-]+)`", (ROOT / "docs/guide/explain.md").read_text()))
    assert {name for name in registry if "toy" not in name} <= named


def test_the_code_on_the_page_for_users_of_nsl_runs() -> None:
    """Each block in its turn, on a few points."""
    x, y = torch.rand(24, 4), torch.arange(24) % 3
    everything = InMemory("points", ("a", "b", "c"), x, y)
    numbers = torch.arange(0, 24, 4)
    model = nn.Linear(4, 3)
    given = {
        "model": model,
        "loader": [(x[:8], y[:8]), (x[8:16], y[8:16])],
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "examples": everything,
        "everything": everything,
        "embeddings": x,
        "numbers_of_the_labelled": numbers,
        "labelled": InMemory("labelled", everything.classes, x[numbers], y[numbers]),
    }
    before = model.weight.detach().clone()
    page = (ROOT / "docs/guide/nsl.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for block in blocks:
        exec(block, given)
    assert len(blocks) == 3
    assert not torch.equal(model.weight, before)


def test_the_page_for_users_of_nsl_leaves_no_public_name_out() -> None:
    page = (ROOT / "docs/guide/nsl.md").read_text()
    missing = [name for name in regularization.__all__ if name not in page]
    assert missing == []


PAGE = (ROOT / "docs/guide/data.md").read_text()


@pytest.mark.slow
def test_the_code_on_the_page_about_data_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    for number, size in enumerate([(40, 60), (90, 50), (32, 32)]):
        place = tmp_path / "photos" / f"class{number}"
        place.mkdir(parents=True)
        Image.new("RGB", size, (80 * number, 30, 60)).save(place / "x.jpg")
    monkeypatch.chdir(tmp_path)
    given = {
        "model": load("shallow-cnn", classes=3, channels=3, size=32),
        "images": torch.rand(6, 3, 32, 32),
        "labels": [0, 1, 2, 2, 1, 0],
        "words": ["a", "b", "c", "c", "b", "a"],
    }
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, given)


def test_the_page_about_data_names_all_ways_to_a_size() -> None:
    for word in (*get_args(Resize), *("--size", "--resize", "--interpolation", "--classes-from")):
        assert word in PAGE
    modes = ("I;16", "I;16B", "I;16L", "I;16N", "mode I ", "mode F", "CMYK", "YCbCr", "LAB", "HSV", "EXIF")
    assert [mode for mode in modes if mode not in PAGE] == []
