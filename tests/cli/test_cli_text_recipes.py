"""The list of text recipes, and the table of them in the guide."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

from robustlab.text.recipes import TEXT_RECIPES

if TYPE_CHECKING:
    from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]


def test_recipes_are_listed_with_what_they_lack(command: Command) -> None:
    rows = {row["name"]: row for row in json.loads(command("text", "recipes", "--json").out)}
    assert {*rows} >= {*TEXT_RECIPES}
    assert rows["deepwordbug"]["lacks"] == ""
    assert "textfooler+glove,minilm" in rows["textfooler"]["lacks"]
    done = command("text", "recipes")
    assert done.code == 0
    assert "textfooler+glove,minilm" in done.out


def test_one_recipe_is_shown_with_its_parts(command: Command) -> None:
    done = command("text", "recipes", "bae")
    for words in ("transformations: masked model", "search: greedy", "runs here: no", "unverified", "EMNLP 2020"):
        assert words in done.out
    wrong = command("text", "recipes", "textfoler")
    assert wrong.code == 2
    assert "did you mean textfooler" in wrong.err


def test_the_guide_lists_every_recipe() -> None:
    script = ROOT / "docs" / "make_text_recipes.py"
    spec = importlib.util.spec_from_file_location("make_text_recipes", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == module.GUIDE.read_text(encoding="utf-8"), "write it anew: python docs/make_text_recipes.py"
