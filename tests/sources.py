"""Sources of the package, parsed once for all tests that read them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "robustlab"


def relative(path: Path) -> str:
    """The path from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    """The parsed file."""
    first = nodes(path)[0]
    assert isinstance(first, ast.Module)
    return first


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All nodes of a file, its module first."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def package() -> list[Path]:
    """All files of the package."""
    return sorted(SRC.rglob("*.py"))


def faults(paths: Iterable[Path], rule: Callable[[Path], Iterable[object]]) -> dict[str, list[object]]:
    """What a rule finds, by file; files that keep it are left out."""
    found = {relative(path): list(rule(path)) for path in paths}
    return {name: ones for name, ones in found.items() if ones}
