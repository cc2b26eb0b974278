"""Every example of the page "Bring your own model" runs as it stands."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

PAGE = Path(__file__).resolve().parents[1] / "docs/guide/own-model.md"
_BLOCK = re.compile(r"(?:<!-- needs: ([\w, ]+) -->\n)?```python\n(.*?)```", re.DOTALL)


class Example(NamedTuple):
    """One example of the page."""

    title: str
    needs: tuple[str, ...]
    code: str


def examples() -> list[Example]:
    """The examples in their order; the first holds what the others share."""
    found = []
    for section in PAGE.read_text(encoding="utf-8").split("\n## "):
        title = section.partition("\n")[0].removeprefix("# ")
        for needs, code in _BLOCK.findall(section):
            found.append(Example(title, tuple(filter(None, needs.split(", "))), code))
    return found


SHARED, *OTHERS = examples()


@pytest.mark.slow
@pytest.mark.parametrize("example", OTHERS, ids=lambda one: one.title.replace(" ", "-"))
@pytest.mark.filterwarnings("default")
def test_an_example_of_the_page_runs(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    lacking = [name for name in example.needs if find_spec(name) is None]
    if lacking:
        pytest.skip(f"{', '.join(lacking)} is not installed")
    torch.manual_seed(0)
    space: dict[str, object] = {"__name__": "example"}
    exec(SHARED.code, space)
    exec(example.code, space)
    assert "Interval(value=" in capsys.readouterr().out


def test_no_example_is_overlooked() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(OTHERS) + 1 == text.count("```python\n") >= 12
