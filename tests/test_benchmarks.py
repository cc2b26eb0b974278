"""The benchmarks can be imported, and the logic of some is right."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import Linf

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_can_be_imported(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")


def _imported(name: str) -> set[str]:
    """Benchmarks that a benchmark imports, anywhere in its file."""
    nodes = list(ast.walk(ast.parse((ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8"))))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    inside = {alias.name for node in froms if node.module == "benchmarks" for alias in node.names}
    parts = {str(node.module).split(".")[1] for node in froms if str(node.module).startswith("benchmarks.")}
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return inside | parts | {name.split(".")[1] for name in plain if name.startswith("benchmarks.")}


def _reached(name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = _imported(waiting.pop()) - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("name", NAMES)
def test_no_benchmark_imports_itself_by_way_of_others(name: str) -> None:
    assert name not in _reached(name)


class Stages:
    """Two stages: the first fools the model on id 2, the second on id 3, unless it is interrupted."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.interrupted = True

    def first(self, x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        del y
        self.seen.append(ids.tolist())
        return torch.where((ids == 2)[:, None], x.flip(1), x)

    def second(self, x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        del y
        if self.interrupted:
            raise KeyboardInterrupt
        self.seen.append(ids.tolist())
        return torch.where((ids == 3)[:, None], x.flip(1), x)


def test_an_interrupted_unit_goes_on_at_its_stage_with_what_is_left(tmp_path: Path) -> None:
    from benchmarks import units

    model, x, y = nn.Identity(), torch.tensor([[0.75, 0.0]] * 5), torch.tensor([0, 1, 0, 0, 0])
    stages, path = Stages(), tmp_path / "deep" / "unit.json"

    def run(code: str) -> units.Unit:
        named = {"first": stages.first, "second": stages.second}
        return units.finish(path, model, x, y, named, norm=Linf(), code=code)

    with pytest.raises(KeyboardInterrupt):
        run("a")
    stages.interrupted = False
    unit = run("a")
    assert stages.seen == [[0, 2, 3, 4], [0, 3, 4]]
    assert (unit.wrong, unit.fooled) == ([1], {"first": [2], "second": [3]})
    assert unit.radius == {"first": 0.75, "second": 0.75}
    assert unit.still_robust(5) == 2
    assert run("a") == unit == units.load(path)
    assert len(stages.seen) == 2
    run("b")
    assert stages.seen[2:] == [[0, 2, 3, 4], [0, 3, 4]]
    assert [file.name for file in path.parent.iterdir()] == ["unit.json"]


def test_disagreements_were_fooled_in_some_runs_of_one_and_in_none_of_the_other() -> None:
    from benchmarks import units

    ours = units.Unit("a", [0], {"apgd-ce": [1, 2], "square": [3]})
    theirs = [units.Unit("b", [0], {"apgd-ce": [2], "square": [4]}), units.Unit("b", [0], {"apgd-ce": [4, 5, 1]})]
    assert units.only_in([ours], theirs) == [(3, "square", 1)]
    assert units.only_in(theirs, [ours]) == [(4, "square", 2), (5, "apgd-ce", 1)]
    assert [units.differing(ours, other) for other in theirs] == [3, 4]
    assert [units.robust_only_in(*runs) for runs in ((ours, theirs), (theirs[0], [ours, theirs[1]]))] == [1, 1]


@pytest.mark.parametrize(
    ("fooled", "verdict"),
    [((500, 500, 500), "met"), ((498, 498, 498), "met"), ((497, 497, 497), "missed"), ((503, 497, 499), "met")],
)
def test_agreement_allows_two_tenths_of_a_point_or_the_spread_of_the_reference(
    fooled: tuple[int, ...], verdict: str
) -> None:
    from benchmarks import agreement, units

    ours, *theirs = (units.Unit("", [], {"apgd-ce": list(range(count))}) for count in (500, *fooled))
    assert agreement.verdict("l2", [ours], theirs, 1000)[""] == verdict


@pytest.mark.parametrize(
    ("rate", "epochs", "images"), [(500.0, 1, 30_000), (1000.0, 1, 60_000), (1500.0, 2, 45_000), (0.1, 1, 128)]
)
def test_in_equal_time_a_recipe_gets_as_many_images_as_its_rate_allows(rate: float, epochs: int, images: int) -> None:
    from benchmarks.time_to_robustness import amount

    part = amount(rate, 60.0, 60_000)
    assert part == (epochs, images)
    assert part.seen == max(128, rate * 60)
