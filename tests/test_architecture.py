"""The arrows of the house: who may import whom, and what an import costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.sources import ROOT, SRC, faults, nodes, package, tree

import robustlab
from robustlab import attacks

GROUND = {"core", "runs", "statistics"}
"""Rooms near the ground: neither knows what an attack is, and every room above may import both."""
SIBLINGS = {"attacks", "corruptions", "models", "data", "text", "explain"}
JOBS = {"training", "evaluation"}
BELOW_STUDIES = {*GROUND, "regularization", "report", *SIBLINGS, *JOBS}
ARROWS: dict[str, set[str]] = {
    "core": set(),
    "runs": {"core"},
    "statistics": {"core"},
    **dict.fromkeys(SIBLINGS, GROUND),
    "regularization": {*GROUND, "attacks"},
    "training": {*GROUND, "attacks", "corruptions", "data", "regularization", "text"},
    "explain": {*GROUND, "attacks"},
    "evaluation": {*GROUND, "attacks", "corruptions", "data", "explain", "text"},
    "report": {*GROUND, "attacks", "corruptions", "data", "evaluation", "explain", "text"},
    "studies": BELOW_STUDIES,
    "cli": {*BELOW_STUDIES, "studies"},
    "app": {*BELOW_STUDIES, "studies"},
}
TORCH_ONLY = {"core", "attacks"}
DOORS = {"cli", "app"}
"""Rooms that nobody imports: they alone may import their framework at module level."""
EAGER = {"torch", "numpy"}
HEAVY = {
    "torchvision", "timm", "accelerate", "safetensors", "scipy", "sklearn", "PIL", "matplotlib", "typer", "rich",
    "captum",
}  # fmt: skip


class Import(NamedTuple):
    """One imported module as it stands in a file."""

    where: str
    module: str
    names: tuple[str, ...]
    eager: bool
    """Carried out when the file is imported: neither in a function nor for type checkers only."""

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def room(self) -> str:
        return self.module.split(".")[1] if self.module.startswith("robustlab.") else ""


def imports(source: str, where: str) -> Iterator[Import]:
    """All imports of a source text, wherever they stand in it."""
    yield from _walk(ast.parse(source), where, eager=True)


def _walk(node: ast.AST, where: str, *, eager: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        place = f"{where}:{getattr(child, 'lineno', 0)}"
        if isinstance(child, ast.Import):
            yield from (Import(place, alias.name, (), eager) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{place}: relative import"
            names = tuple(alias.name for alias in child.names)
            if child.module == "robustlab":
                yield from (Import(place, f"robustlab.{name}", (), eager) for name in names)
            else:
                yield Import(place, child.module or "", names, eager)
        else:
            lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _for_types_only(child)
            yield from _walk(child, where, eager=eager and not lazy)


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@cache
def of_room(room: str) -> list[Import]:
    paths = [path for path in package() if path.is_relative_to(SRC / room)]
    return [found for path in paths for found in _walk(tree(path), f"{room}/{path.name}", eager=True)]


def outside(found: list[Import]) -> list[Import]:
    """Imports that are neither ours nor Python's own (type checkers bring ``_typeshed``)."""
    return [i for i in found if i.top not in {"robustlab", "_typeshed", *sys.stdlib_module_names}]


OPTIONAL = {"pandas"}
"""Used where a user has it, and never needed."""
ROOMS = sorted(path.name for path in SRC.iterdir() if any(path.glob("*.py")))


def test_the_parser_sees_nested_lazy_and_type_imports() -> None:
    source = (
        "import torch\nfrom robustlab import core\nif TYPE_CHECKING:\n    import timm\n"
        "def f():\n    if True:\n        from robustlab.data.images import load\n"
    )
    seen = [(i.module, i.room, i.eager) for i in imports(source, "x.py")]
    assert seen == [
        ("torch", "", True),
        ("robustlab.core", "core", True),
        ("timm", "", False),
        ("robustlab.data.images", "data", False),
    ]


def test_every_room_has_its_place_in_the_house() -> None:
    assert set(ROOMS) <= set(ARROWS), "a new room needs a decision note and its arrows here"


@pytest.mark.parametrize("room", ROOMS)
def test_imports_follow_the_arrows(room: str) -> None:
    allowed = ARROWS[room] | {room}
    against = [f"{i.where} imports {i.module}" for i in of_room(room) if i.top == "robustlab" and i.room not in allowed]
    assert not against, f"robustlab.{room} may import {sorted(allowed)} only"


def test_what_runs_claims_knows_none_of_them() -> None:
    engine = of_room("studies/claim_engine")
    assert engine
    assert [f"{i.where} imports {i.module}" for i in engine if i.module.startswith("robustlab.studies.claims")] == []


@pytest.mark.parametrize("room", ROOMS)
def test_heavy_packages_are_imported_where_they_are_used(room: str) -> None:
    allowed = EAGER | (HEAVY if room in DOORS else set())
    against = [f"{i.where} imports {i.module}" for i in outside(of_room(room)) if i.eager and i.top not in allowed]
    assert not against, "import it inside the function that needs it"


@pytest.mark.parametrize("room", sorted(TORCH_ONLY & set(ROOMS)))
def test_core_and_attacks_know_torch_alone(room: str) -> None:
    assert [f"{i.where} imports {i.module}" for i in outside(of_room(room)) if i.top != "torch"] == []


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    declared = {_canonical(line) for line in lines}
    provided = declared.union(*map(_modules, declared))
    used = {i.top: i.where for room in ROOMS for i in outside(of_room(room)) if i.top not in OPTIONAL}
    missing = {top: where for top, where in used.items() if top not in provided and _canonical(top) not in provided}
    assert not missing, "add it to pyproject.toml and to the decision note on dependencies"


def _modules(name: str) -> set[str]:
    """Modules at the top of an installed distribution, none where it is not installed."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return set()
    listed = (found.read_text("top_level.txt") or "").split()
    return set(listed) or {file.parts[0].removesuffix(".py") for file in found.files or ()}


def _canonical(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


@pytest.mark.slow
def test_importing_the_package_pulls_in_torch_and_nothing_heavier() -> None:
    rooms = [f"robustlab.{room}" for room in ROOMS if room not in DOORS]
    program = (
        "import sys, torch, numpy\n"
        f"heavy, seen = {sorted(HEAVY)}, set(sys.modules)\n"
        f"for name in ['robustlab', *{rooms}]:\n"
        "    __import__(name)\n"
        "    new = [h for h in heavy if h in sys.modules and h not in seen]\n"
        "    if new: sys.exit(f'{name} pulls in {new}')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_alone_enters_no_room() -> None:
    program = "import sys, robustlab; print([m for m in sys.modules if m.startswith('robustlab.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _outsiders() -> list[Path]:
    return [*sorted((ROOT / "notebooks").glob("[0-9]*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]


@pytest.mark.parametrize("path", _outsiders(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_notebooks_and_benchmarks_use_public_names(path: Path) -> None:
    private = []
    for found in imports(path.read_text(), path.name):
        if found.top != "robustlab" or found.room in {"", *robustlab.__all__}:
            continue
        public = _public_names(found.room)
        private += [f"{found.where}: {found.module}.{name}" for name in found.names if name not in public]
        if found.module.count(".") > 1:
            private.append(f"{found.where}: {found.module} is inside a room")
    assert not private


def _public_names(room: str) -> list[str]:
    body = tree(SRC / room / "__init__.py").body
    lists = [n.value for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
    return [str(name) for name in ast.literal_eval(lists[0])]


@pytest.mark.parametrize("room", ["report", "evaluation/doctor"])
def test_finished_runs_are_read_without_what_runs_them(room: str) -> None:
    engines = {"robustlab.evaluation.run", "robustlab.evaluation.corruptions.run"}
    assert [f"{i.where} imports {i.module}" for i in of_room(room) if i.module in engines] == []


@cache
def _kinds_of_attack() -> set[str]:
    return {name for name in attacks.__all__ if hasattr(getattr(attacks, name), "search")}


def _tested_for_kinds_of_attack(found: list[ast.AST]) -> Iterator[str]:
    """Tests of an attack's class: what an attack states about itself is asked of ``attacks.facts`` instead."""
    for node in found:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"isinstance", "issubclass"} and len(node.args) > 1:
            words = set(re.findall(r"\w+", ast.unparse(node.args[1])))
        elif isinstance(node, ast.Compare) and re.match(r"type\(.*\)(\.__name__)?$", ast.unparse(node.left)):
            words = set(re.findall(r"\w+", " ".join(map(ast.unparse, node.comparators))))
        elif isinstance(node, ast.MatchClass):
            words = {ast.unparse(node.cls).rpartition(".")[2]}
        else:
            continue
        if words & _kinds_of_attack():
            yield ast.unparse(node)


def test_nobody_outside_asks_an_attack_for_its_class() -> None:
    source = "isinstance(a, PGD | x.Square)\nisinstance(a, str)\ntype(a).__name__ in ('FAB',)\ntype(a) is FGSM\n"
    assert len(list(_tested_for_kinds_of_attack(list(ast.walk(ast.parse(source)))))) == 3
    paths = [path for path in package() if path.parent.name != "attacks"]
    found = faults(paths, lambda path: _tested_for_kinds_of_attack(nodes(path)))
    assert not found, "state the fact in the attack's own file, and read it by robustlab.attacks.facts"


def test_progress_is_one_tuple_and_one_bar() -> None:
    names = [(path, path.relative_to(SRC).as_posix()) for path in package()]
    every = [(name, node) for path, name in names for node in nodes(path)]
    classes = [(name, node.name) for name, node in every if isinstance(node, ast.ClassDef)]
    tuples = {name for name, kind in classes if kind.endswith("Progress") and kind != "PhaseProgress"}  # counts only
    drawing = {name for name, node in every if isinstance(node, ast.ImportFrom) and node.module == "rich.progress"}
    assert tuples == drawing == {"runs/progress.py"}
    assert not [name for name, node in every if isinstance(node, ast.FunctionDef) and node.name == "tell"]
