"""The examples of README.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(16, 3, bias=False)
    nn.init.normal_(layer.weight, generator=generator)
    model = nn.Sequential(nn.Flatten(), layer)
    x = torch.rand(1000, 1, 4, 4, generator=generator)
    exec(example, {"model": model, "x": x, "y": model(x).argmax(dim=1)})
    assert re.match(r"Interval\(value=0\.\d+, low=.*, n=1000, level=0\.95\)", capsys.readouterr().out)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "notebooks/README.md", "docs/guide/data.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if not link.startswith("https://")]
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert not missing


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+) ", README)) | set(re.findall(r"`make ([a-z]+)`", README))
    assert named
    assert named <= targets


def test_the_workshop_is_the_same_in_both_tables() -> None:
    workshop = (ROOT / "notebooks" / "README.md").read_text()
    rows = re.findall(r"^\| \d\d \|.*$", README, re.MULTILINE)
    assert len(rows) == len(list((ROOT / "notebooks").glob("[0-9][0-9]_*.py")))
    assert [row.replace("notebooks/rendered", "rendered") for row in rows] == re.findall(
        r"^\| \d\d \|.*$", workshop, re.MULTILINE
    )
