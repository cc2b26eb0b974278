"""House rules that no linter knows: sizes, places and names."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "robustlab"
OURS = [p for folder in ("src", "tests", "benchmarks", "notebooks") for p in sorted((ROOT / folder).rglob("*.py"))]
PACKAGE = [path for path in OURS if path.is_relative_to(SRC)]
NOTEBOOKS = [path for path in OURS if re.fullmatch(r"\d\d_\w+\.py", path.name) and path.parent.name == "notebooks"]

LONGEST_FILE = 400
LONGEST_FUNCTION = 40
LONGEST_CELL = 15
BANNED_NAMES = re.compile(r"^(Base[A-Z]\w*|\w*Helpers?|\w*Utils?|utils?|helpers?)$")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, its docstring not counted."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", OURS, ids=relative)
def test_files_and_functions_stay_short(path: Path) -> None:
    told = re.sub(r"(?m)^# alt: .*\n(?:#   .*\n)*", "", path.read_text())  # a figure's words are no code to be read
    assert len(told.splitlines()) <= LONGEST_FILE
    long = [f"{f.name}:{f.lineno} has {length(f)} lines" for f in functions(path) if length(f) > LONGEST_FUNCTION]
    assert not long


def test_half_of_all_functions_are_under_ten_lines_and_nine_in_ten_under_twenty_five() -> None:
    lengths = [length(function) for path in PACKAGE for function in functions(path)]
    assert median(lengths) < 10
    assert quantiles(lengths, n=10)[-1] < 25


@pytest.mark.parametrize("path", [p for p in PACKAGE if "cli" not in p.parts], ids=relative)
def test_the_library_prints_nothing(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [f"line {c.lineno}" for c in calls if ast.unparse(c.func) == "print"], "use logging, or return it"


@pytest.mark.parametrize("path", PACKAGE, ids=relative)
def test_names_say_what_things_are(path: Path) -> None:
    assert len(path.relative_to(SRC).parts) <= 3, "depth is two folders"
    classes = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    assert not [name for name in [path.stem, *classes] if BANNED_NAMES.match(name)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_read_like_the_workshop(path: Path) -> None:
    cells = re.split(r"^# %%", path.read_text(), flags=re.MULTILINE)[1:]
    prose = [cell.startswith(" [markdown]") for cell in cells]
    code = [_lines(cell) for cell, is_prose in zip(cells, prose, strict=True) if not is_prose]
    assert prose[0], "prose first"
    assert max(code) <= LONGEST_CELL
    assert median(code) <= 5
    assert any("assert " in cell for cell in cells), "each claim is an assertion"
    assert sum("## What we saw" in cell or "## Exercises" in cell for cell in cells) == 2
    assert not re.search(r"^\s*[!%]\w", path.read_text(), flags=re.MULTILINE), "no shell, no magics"


def _lines(cell: str) -> int:
    """Lines of code to be read; imports, and the words of a figure, are none."""
    told = (line for line in cell.splitlines()[1:] if line.strip())
    return len([line for line in told if not line.startswith(("import ", "from ", "# alt: ", "#   "))])


def test_no_path_of_one_machine_is_in_the_repository() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    texts = [ROOT / name for name in tracked if name.endswith((".py", ".md", ".toml", ".txt", ".ipynb", "Makefile"))]
    own = re.compile(r"(?<![\w.~}])/(?:home|root|Users)/\w")
    assert not [relative(path) for path in texts if path.exists() and own.search(path.read_text())]
