"""Names under which results were filed: every result is found after a rename of a class, field or option."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import field, make_dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import pytest
from tests.sources import nodes, package

from robustlab.runs import spellings
from robustlab.studies.claim_engine.definition import UNSAID, described, fingerprint


def divided(x: object, norm_mode: str = "") -> object:
    return x, norm_mode


def shared(x: object, bn_mode: str = "") -> object:
    return x, bn_mode


class Before(NamedTuple):
    arm: str
    how: object


class After(NamedTuple):
    one: str
    how: object


def recorded() -> tuple[object, ...]:
    """Values of every kind as they were when their results were filed."""
    recipe = make_dataclass("SplitNorm", [("norm_mode", str, field(default="train")), ("depth", int, field(default=1))])
    inside = make_dataclass("Network", [("recipe", object), ("names", tuple, field(default=()))])
    changed: Any = [("precision", str, field(default="auto", metadata={UNSAID: "bf16"}))]
    open_ = make_dataclass("Open", changed)
    return (
        inside(recipe("shared-norm"), ("a-norm", "b")), recipe(), recipe("eval", 2), open_("fp32"), open_("bf16"),
        partial(divided, norm_mode="shared-norm"), divided, recipe, Before("shared-norm", recipe("shared-norm")),
        [recipe("shared-norm")],
    )  # fmt: skip


def renamed() -> tuple[object, ...]:
    """The same values after everything got another name."""
    recipe = make_dataclass("SplitBN", [("bn_mode", str, field(default="train")), ("depth", int, field(default=1))])
    inside = make_dataclass("Net", [("spec", object), ("called", tuple, field(default=()))])
    changed: Any = [("dtype", str, field(default="auto", metadata={UNSAID: "bf16"}))]
    open_ = make_dataclass("Opened", changed)
    return (
        inside(recipe("shared-bn"), ("a-bn", "b")), recipe(), recipe("eval", 2), open_("fp32"), open_("bf16"),
        partial(shared, bn_mode="shared-bn"), shared, recipe, After("shared-bn", recipe("shared-bn")),
        [recipe("shared-bn")],
    )  # fmt: skip


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"SplitBN": "SplitNorm", "Net": "Network", "Opened": "Open", "shared": "divided", "types.SplitBN":
             "types.SplitNorm"}  # fmt: skip
    fields = {"SplitBN": {"bn_mode": "norm_mode"}, "Net": {"spec": "recipe", "called": "names"}, "Opened": {"dtype":
              "precision"}, "shared": {"bn_mode": "norm_mode"}}  # fmt: skip
    literal = {"shared-bn": "shared-norm"}
    values = {"SplitBN.bn_mode": literal, "shared.bn_mode": literal, "After.one": literal, "Net.called": {"a-bn":
              "a-norm"}}  # fmt: skip
    for name, entries in (("NAMES", names), ("FIELDS", fields), ("VALUES", values)):
        monkeypatch.setattr(spellings, name, entries)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("number", range(len(recorded())))
def test_a_value_keeps_its_hash_when_its_names_change(number: int) -> None:
    assert described(renamed()[number]) == described(recorded()[number])
    assert fingerprint(renamed()[number]) == fingerprint(recorded()[number])


def test_without_the_table_a_rename_is_another_definition() -> None:
    same = [described(now) == described(then) for now, then in zip(renamed(), recorded(), strict=True)]
    assert not any(same)


@pytest.mark.usefixtures("table")
def test_a_spelling_belongs_to_its_own_class() -> None:
    other = make_dataclass("Other", [("bn_mode", str)])
    assert described(other("shared-bn")) == "Other(bn_mode='shared-bn')"


def _named(found: list[ast.AST]) -> Iterator[tuple[str, set[str]]]:
    """Classes with their fields, functions with their arguments."""
    for node in found:
        if isinstance(node, ast.ClassDef):
            yield node.name, {ast.unparse(one.target) for one in node.body if isinstance(one, ast.AnnAssign)}
        elif isinstance(node, ast.FunctionDef):
            yield node.name, {one.arg for one in (*node.args.args, *node.args.kwonlyargs)}


@cache
def there() -> tuple[tuple[str, set[str]], ...]:
    """Classes and functions of our code."""
    return tuple(one for path in package() for one in _named(nodes(path)))


def stale() -> list[str]:
    """Entries of the tables that name nothing in our code, or more than one thing."""
    count, known = Counter(name for name, _ in there()), dict(there())
    owners = {name.rpartition(".")[2] for name in spellings.NAMES} | spellings.FIELDS.keys()
    fields = [(owner, name) for owner, names in spellings.FIELDS.items() for name in names]
    fields += [(owner, name) for owner, _, name in (key.partition(".") for key in spellings.VALUES)]
    wrong = [name for name in owners | {owner for owner, _ in fields} if count[name] != 1]
    return wrong + [f"{owner}.{name}" for owner, name in fields if name not in known.get(owner, ())]


@pytest.mark.slow
def test_every_entry_names_one_class_and_its_field() -> None:
    assert stale() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "entries", "expected"),
    [
        ("NAMES", {"NoSuchClass": "Old"}, ["NoSuchClass"]),
        ("NAMES", {"Unit": "Old"}, ["Unit"]),
        ("FIELDS", {"TaughtBy": {"no_such_field": "old"}}, ["TaughtBy.no_such_field"]),
        ("VALUES", {"TaughtBy.no_such_field": {"a": "b"}}, ["TaughtBy.no_such_field"]),
        ("VALUES", {"TaughtBy.teacher": {"a": "b"}}, []),
    ],
)
def test_an_entry_without_its_class_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, entries: dict[str, object], expected: list[str]
) -> None:
    monkeypatch.setattr(spellings, name, entries)
    assert stale() == expected
