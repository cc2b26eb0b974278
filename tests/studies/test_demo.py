"""The demo in small, on digits in the place of Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from robustlab.attacks import FGSM, PGD, Targeted
from robustlab.core import DataError, Examples
from robustlab.evaluation import WORST
from robustlab.runs import Progress
from robustlab.studies import demo
from robustlab.studies.demo import EPS, SIZES, THREAT, Demo, Size, attacks, recipes
from robustlab.training import Adversarial, Crafting, Standard

NAMES = ["standard", "FGSM-trained", "PGD-trained"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enlarged digits instead of Fashion-MNIST, and little of everything."""
    reduced(monkeypatch)


def reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    import robustlab.data.fashion_mnist as module
    from robustlab.data.digits import digits

    def enlarged(split: str, **_: object) -> Examples:
        return digits(split, enlarged=True)

    monkeypatch.setattr(module, "fashion_mnist", enlarged)
    monkeypatch.setitem(SIZES, "quick", Size(192, 1, 64, (0.02, EPS)))


class Stopper:
    """Progress that stops the demo, once, when a task is half done."""

    def __init__(self, task: str = "") -> None:
        self.task, self.seen = task, list[Progress]()

    def __call__(self, step: Progress) -> None:
        self.seen.append(step)
        if step.task == self.task and step.fraction >= 0.5:
            self.task = ""
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Whole:
    """A demo that nothing stopped."""

    made: Demo
    seen: list[Progress]
    folder: Path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder, seen = tmp_path_factory.mktemp("whole") / "demo", Stopper()
    with pytest.MonkeyPatch.context() as patch:
        reduced(patch)
        return Whole(demo(folder, n=20, budget="quick", progress=seen), seen.seen, folder)


def test_demo_puts_three_networks_side_by_side_in_one_report(whole: Whole) -> None:
    made = whole.made
    assert made.report == whole.folder / "report.html"
    assert [e.model.name for e in made.evaluations] == NAMES
    assert {e.data.sha256 for e in made.evaluations} == {made.evaluations[0].data.sha256}
    assert {(a.name, a.targeted) for a in made.evaluations[0].attacks} == {
        ("FGSM", False),
        ("PGD-40", False),
        ("targeted PGD-40", True),
    }
    assert [w.eps for w in made.evaluations[0].worst] == [0.02, EPS]
    assert {(c.a, c.b) for c in made.comparisons if c.attack == WORST} == {
        (NAMES[0], NAMES[1]),
        (NAMES[0], NAMES[2]),
        (NAMES[1], NAMES[2]),
    }
    page = made.report.read_text()
    assert "Robust accuracy at Linf eps 0.1" in page
    assert all(name in page for name in NAMES)
    assert [s.task for s in whole.seen if s.fraction == 1.0 and s.task.startswith("train")] == [
        f"train {n}" for n in NAMES
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("task", ["train FGSM-trained", "attack FGSM-trained"])
def test_stopped_demo_goes_on_and_ends_with_the_same_numbers(tmp_path: Path, task: str, whole: Whole) -> None:
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path / "cut", n=20, budget="quick", progress=Stopper(task))
    again = Stopper()
    made = demo(tmp_path / "cut", n=20, budget="quick", progress=again)
    assert not [s for s in again.seen if s.task == "train standard"], "what was done is not done twice"
    assert [e.model.sha256 for e in made.evaluations] == [e.model.sha256 for e in whole.made.evaluations]
    assert [[w.robust for w in e.worst] for e in made.evaluations] == [
        [w.robust for w in e.worst] for e in whole.made.evaluations
    ]


def test_networks_and_attacks_are_those_of_the_workshop() -> None:
    made = recipes()
    assert list(made) == NAMES
    assert made["standard"] == Standard()
    fast, madry = made["FGSM-trained"], made["PGD-trained"]
    assert isinstance(fast, Adversarial)
    assert isinstance(fast.crafting, Crafting)
    assert fast.crafting.attack == FGSM(THREAT, step_size=1.25 * EPS, random_start=True)
    assert isinstance(madry, Adversarial)
    assert isinstance(madry.crafting, Crafting)
    assert isinstance(madry.crafting.attack, PGD)
    assert [type(a) for a in attacks()] == [FGSM, PGD, Targeted]
    assert {0.0, EPS} - set(SIZES["full"].eps) == {0.0}
    assert SIZES["full"].images is None, "Fashion-MNIST in full"


@pytest.mark.slow
def test_missing_data_falls_back_loudly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import robustlab.data.fashion_mnist as module

    def absent(split: str, **_: object) -> Examples:
        raise DataError(f"Fashion-MNIST {split} cannot be had. Tried: nothing")

    monkeypatch.setattr(module, "fashion_mnist", absent)
    monkeypatch.setitem(SIZES, "quick", Size(64, 1, 64, (EPS,)))
    with pytest.warns(UserWarning, match=r"cannot be had. Tried: nothing\n.*FALLING BACK to scikit-learn's digits"):
        made = demo(tmp_path, n=5, budget="quick")
    assert "digits" in made.evaluations[0].data.name
    assert made.evaluations[0].data.n == 5


def test_unknown_budget_is_refused(tmp_path: Path) -> None:
    call: Callable[..., object] = demo
    with pytest.raises(ValueError, match="budget must be one of full, quick, got 'huge'"):
        call(tmp_path, budget="huge")
