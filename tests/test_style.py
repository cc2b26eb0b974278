"""House rules that no linter knows: sizes, places and names."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import pytest
from tests.sources import ROOT, SRC, nodes, package, relative, tree

OURS = [p for folder in ("src", "tests", "benchmarks", "notebooks") for p in sorted((ROOT / folder).rglob("*.py"))]
PACKAGE = package()
NOTEBOOKS = [path for path in OURS if re.fullmatch(r"\d\d_\w+\.py", path.name) and path.parent.name == "notebooks"]

LONGEST_FILE = 400
LONGEST_FUNCTION = 40
LONGEST_CELL = 15
WORDS = json.loads((ROOT / "tests" / "words.json").read_text())
"""Lists of the rules on words; a room or page is added to "clean" or "docs" once it follows them."""
CLEAN = {path for path in OURS if any(path.is_relative_to(ROOT / room) for room in WORDS["clean"])}
KEPT = {name for names in WORDS["kept"].values() for name in names}
OPENINGS = re.compile(rf"\s*(?:{'|'.join(WORDS['openings'])})\b")
PHRASES = re.compile(rf"\b(?:{'|'.join(WORDS['phrases'])})\b")
BANNED_NAMES = re.compile(r"^(Base[A-Z]\w*|\w*Helpers?|\w*Utils?|utils?|helpers?)$")


class Facts(NamedTuple):
    """What the rules ask of every file, kept without its nodes."""

    lines: int
    functions: list[tuple[str, int]]
    """Name with line, and length of its body."""
    docstrings: list[tuple[int, str]]
    """Docstrings of modules, classes, functions and attributes, with their lines."""


@cache
def facts(path: Path) -> Facts:
    text = path.read_text()
    told = re.sub(r"(?m)^# alt: .*\n(?:#   .*\n)*", "", text)  # a figure's words are no code to be read
    found = nodes(path) if path.is_relative_to(SRC) else list(ast.walk(ast.parse(text)))
    functions = [node for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    texts = [node.value for node in found if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return Facts(
        len(told.splitlines()),
        [(f"{f.name}:{f.lineno}", length(f)) for f in functions],
        [(text.lineno, text.value) for text in texts if isinstance(text.value, str)],
    )


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, its docstring not counted."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", OURS, ids=relative)
def test_file_keeps_the_rules(path: Path) -> None:
    rules = [*OF_ALL, *(OF_CLEAN if path in CLEAN else ())]
    if path.is_relative_to(SRC):
        rules += [*OF_PACKAGE, *(OF_CLEAN_PACKAGE if path in CLEAN else ())]
    broken = {str(rule.__doc__): found for rule in rules if (found := rule(path))}
    assert not broken


def too_long(path: Path) -> list[object]:
    """Files and functions stay short."""
    lines, functions = facts(path).lines, facts(path).functions
    return [f"{lines} lines"] * (lines > LONGEST_FILE) + [found for found in functions if found[1] > LONGEST_FUNCTION]


def test_half_of_all_functions_are_under_ten_lines_and_nine_in_ten_under_twenty_five() -> None:
    lengths = [lines for path in PACKAGE for _, lines in facts(path).functions]
    assert median(lengths) < 10
    assert quantiles(lengths, n=10)[-1] < 25


def prints(path: Path) -> list[object]:
    """The library prints nothing: use logging, or return it."""
    calls = [] if "cli" in path.parts else [node for node in nodes(path) if isinstance(node, ast.Call)]
    return [f"line {call.lineno}" for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def vague_names(path: Path) -> list[object]:
    """Names say what things are, and depth is two folders."""
    classes = [node.name for node in nodes(path) if isinstance(node, ast.ClassDef)]
    deep = [path] if len(path.relative_to(SRC).parts) > 3 else []
    return [*deep, *(name for name in [path.stem, *classes] if BANNED_NAMES.match(name))]


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


@pytest.mark.parametrize("path", [*NOTEBOOKS, ROOT / "notebooks" / "build.py"], ids=lambda path: path.stem)
def test_notebooks_use_the_words_of_the_field(path: Path) -> None:
    lines = [re.sub(r"`[^`]*`", "", line) for line in path.read_text().splitlines()]
    assert not [(number, line) for number, line in enumerate(lines, 1) if PHRASES.search(line)]
    assert not [line for line in lines if re.match(r"# ##+ .*\?$", line)], "headings are nouns"
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    assert not [name for name in names if set(_parts(name)) & set(WORDS["names"])], "use the noun that it is"


def _lines(cell: str) -> int:
    """Lines of code to be read; imports, and the words of a figure, are none."""
    told = (line for line in cell.splitlines()[1:] if line.strip())
    return len([line for line in told if not line.startswith(("import ", "from ", "# alt: ", "#   "))])


def test_no_path_of_one_machine_is_in_the_repository() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    texts = [ROOT / name for name in tracked if name.endswith((".py", ".md", ".toml", ".txt", ".ipynb", "Makefile"))]
    own = re.compile(r"(?<![\w.~}])/(?:home|root|Users)/\w")
    assert not [relative(path) for path in texts if path.exists() and own.search(path.read_text())]


def wrong_openings(path: Path) -> list[object]:
    """Docstrings begin with the noun or the verb, not with a word of "openings"."""
    return [(line, text.strip().splitlines()[0]) for line, text in facts(path).docstrings if OPENINGS.match(text)]


def wrong_phrases(path: Path) -> list[object]:
    """Docstrings and messages use the words of the field."""
    texts = [(node.lineno, line) for node in _texts(path) for line in _prose(str(node.value))]
    return [(number, found.group(), line.strip()) for number, line in texts if (found := PHRASES.search(line))]


def wrong_names(path: Path) -> list[object]:
    """Public names use the words of the field: use the noun that it is."""
    names = {name for name in _names(path) if not name.startswith("_") and name not in KEPT}
    return [name for name in names if set(_parts(name)) & set(WORDS["names"])]


OF_ALL = [too_long]
OF_CLEAN = [wrong_openings]
OF_PACKAGE = [prints, vague_names]
OF_CLEAN_PACKAGE = [wrong_phrases, wrong_names]


@pytest.mark.parametrize("page", WORDS["docs"])
def test_pages_use_the_words_of_the_field(page: str) -> None:
    prose = re.sub(r"(?ms)^```.*?^```|`[^`]*`", "", (ROOT / page).read_text())
    assert not [(found.group(), line) for line in prose.splitlines() if (found := PHRASES.search(line))]


def test_the_lists_of_words_name_what_is_there() -> None:
    paths = [*WORDS["clean"], *WORDS["docs"]]
    assert not [path for path in paths if not (ROOT / path).exists()]
    assert OPENINGS.match("Whether it is so.")
    assert PHRASES.search("is told of it")
    assert set(_parts("FellAt")) | set(_parts("labels_said")) == {"fell", "at", "labels", "said"}


def _texts(path: Path) -> list[ast.Constant]:
    """Docstrings, messages and other texts of several words."""
    constants = (node for node in nodes(path) if isinstance(node, ast.Constant))
    return [node for node in constants if isinstance(node.value, str) and " " in node.value.strip()]


def _prose(text: str) -> Iterator[str]:
    """Lines without examples, code and the names of arguments."""
    for line in text.splitlines():
        if not line.lstrip().startswith(">>>"):
            yield re.sub(r"``.*?``|^\s+\w+: ", " ", line)


def _names(path: Path) -> Iterator[str]:
    """Names of functions, classes, arguments, fields and constants of modules."""
    bodies = [tree(path).body, *(node.body for node in nodes(path) if isinstance(node, ast.ClassDef))]
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name
            yield from (argument.arg for argument in (*node.args.args, *node.args.kwonlyargs))
        elif isinstance(node, ast.ClassDef):
            yield node.name
    for node in (node for body in bodies for node in body):
        if isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target)
        elif isinstance(node, ast.Assign):
            yield from map(ast.unparse, node.targets)


def _parts(name: str) -> list[str]:
    """Words of a name in snake or camel case, in small letters."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_")
