"""The guide names every finding that there is, and none besides."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _codes_in_source() -> set[str]:
    """First arguments of ``Finding`` and of the functions that make one, with names put in by hand."""
    found: set[str] = set()
    for path in (ROOT / "src/robustlab/evaluation").glob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name in {"Finding", "_fault"} and call.args:
                found |= {text for part in ast.walk(call.args[0]) if (text := _code(part))}
    return found


def _code(node: ast.AST) -> str:
    text = str(node.value) if isinstance(node, ast.Constant) else ""
    return text if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", text) else ""


def test_the_guide_names_every_finding() -> None:
    named = set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", (ROOT / "docs/guide/evaluation.md").read_text()))
    assert _codes_in_source() <= named
    source = "".join(path.read_text() for path in (ROOT / "src/robustlab/evaluation").glob("*.py"))
    unknown = {code for code in named if f'"{code}"' not in source and code.split("-beats-")[0] not in source}
    assert unknown == set()
