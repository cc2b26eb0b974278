"""SECURITY.md as tests: the ways in which Python runs what a file holds are in no place of ours but the listed ones."""

from __future__ import annotations

import ast
from functools import cache

import pytest
from tests.sources import ROOT, SRC, nodes, package

RUNS_CODE = {
    "eval", "exec", "compile", "__import__",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open", "dill.load",
    "dill.loads", "joblib.load", "cloudpickle.load", "cloudpickle.loads", "pd.read_pickle", "pandas.read_pickle",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load",
    "torch.jit.load", "torch.package.PackageImporter", "torch.hub.load", "torch.export.load",
    "importlib.import_module", "import_module", "importlib.util.spec_from_file_location", "runpy.run_path",
    "runpy.run_module", "os.system", "os.popen",
}  # fmt: skip
ALLOWED = {
    ("__init__.py", "import_module"): "rooms of our own, from a table",
    ("cli/commands.py", "importlib.import_module"): "commands of our own, found in their folder",
    ("models/load.py", "importlib.import_module"): "package.module:function that the user typed",
    ("core/kinds.py", "eval"): "annotations in our own source code",
    ("core/registry.py", "import_module"): "files of our own packages, found in their folder",
    ("studies/claims/__init__.py", "import_module"): "files of this very folder",
    ("core/processes.py", "pickle.loads"): "what this process pickled itself, a line before",
}
SAFE = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False)}


@cache
def calls() -> list[tuple[str, ast.Call, str]]:
    """All calls by dotted name, with the file that they stand in."""
    places = [(path, path.relative_to(SRC).as_posix()) for path in package()]
    found = [(where, node) for path, where in places for node in nodes(path) if isinstance(node, ast.Call)]
    return [(ast.unparse(call.func), call, where) for where, call in found]


def test_no_code_of_ours_runs_what_a_file_holds() -> None:
    found = {(where, name) for name, _, where in calls() if name in RUNS_CODE}
    assert found == set(ALLOWED)


@pytest.mark.parametrize("name", SAFE)
def test_files_of_torch_and_numpy_are_read_without_unpickling(name: str) -> None:
    word, value = SAFE[name]
    found = [(call, where) for called, call, where in calls() if called == name]
    given = {where: [k.value for k in call.keywords if k.arg == word] for call, where in found}
    assert all([getattr(v, "value", None) for v in values] == [value] for values in given.values()), given


def test_json_of_others_is_read_in_one_place() -> None:
    """Deep and huge texts end in a sentence there; what comes with the package may be read plainly."""
    own = {
        "runs/json_files.py",
        "data/fashion_mnist_a.py",
        "evaluation/corruptions/baseline.py",
    }
    assert {where for name, _, where in calls() if name in ("json.load", "json.loads")} == own


def test_the_promise_is_written_down_where_people_look() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert "## Reporting" in text
    for name in ("README.md", "CONTRIBUTING.md"):
        assert "SECURITY.md" in (ROOT / name).read_text()
