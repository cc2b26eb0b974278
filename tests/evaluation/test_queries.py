"""SQL text stands in one group of files, and names the columns that the code means."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import robustlab
from robustlab.evaluation import schema
from robustlab.evaluation.plan import Phase

SRC = Path(robustlab.__file__).parent
GROUP = {f"evaluation/{name}.py" for name in ("schema", "queries", "result_queries", "store")}
KEYWORD = re.compile("(SELECT|INSERT|DELETE|UPDATE|PRAGMA|TABLE|ATTACH|DETACH|JOIN|WHERE|ORDER|GROUP) ")
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s(OR\s\w+\s)?INTO|DELETE\sFROM|UPDATE\s\w+\sSET|(CREATE|ALTER|DROP)\s+TABLE|PRAGMA\s\w+"
    r"|(ATTACH|DETACH)\s+DATABASE|(LEFT\s)?JOIN\s\w+\s\w*\s?ON|WHERE\s\w+\s(=|IN|IS)(?!\w)|ORDER BY|GROUP BY)\b",
    re.DOTALL,
)


def texts(source: str) -> list[str]:
    """The strings of a file, f-strings with a dot for each value, without docstrings."""
    tree = ast.parse(source)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in joined for part in node.values}
    plain = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said | parts
    ]
    return [
        *plain, *("".join(str(p.value) if isinstance(p, ast.Constant) else "x" for p in node.values) for node in joined)
    ]  # fmt: skip


def holds_sql(source: str) -> bool:
    if not re.search(
        "(SELECT|INSERT|DELETE|UPDATE|PRAGMA|TABLE|ATTACH|DETACH|JOIN|WHERE|ORDER|GROUP) ", source
    ):  # parsing takes long
        return False
    return any(SQL.search(text) for text in texts(source))


@pytest.mark.parametrize("query", [
    '"SELECT id FROM outcomes"', 'f"SELECT {columns} FROM batches"', '"INSERT OR IGNORE INTO run VALUES (?)"',
    'f"DELETE FROM {table}"', '"UPDATE sessions SET seconds = 0"', '"PRAGMA journal_mode = WAL"', 'f"{x} ORDER BY id"',
])  # fmt: skip
def test_the_search_for_sql_finds_it(query: str) -> None:
    assert holds_sql(f"def f():\n    return {query}\n")
    assert not holds_sql(f'"""The docstring may say {query[:-1].strip(chr(34))}."""')


def test_only_the_store_and_its_queries_hold_sql() -> None:
    found = {path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py") if holds_sql(path.read_text())}
    assert found == GROUP


def test_the_columns_of_a_pass_are_its_fields() -> None:
    assert ", ".join(Phase._fields) == schema.PLACE
    assert " AND ".join(f"{name} = ?" for name in Phase._fields) == schema.KEY
