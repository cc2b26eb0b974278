"""An attack from outside the package: registered in a program, or installed with an entry point."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from robustlab.attacks import ATTACKS, PGD, make_attack
from robustlab.core import Linf, ThreatModel
from robustlab.core.registry import _entry_points
from robustlab.data import load
from robustlab.evaluation import Settings, diagnose, evaluate
from robustlab.models import black_box
from robustlab.report import write

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tests.cli.conftest import Command

TOYS = '''
from dataclasses import dataclass
import torch
from robustlab.attacks import AttackSpec
from robustlab.core import ThreatModel

@dataclass(frozen=True)
class Corner:
    """Moves every value to one edge of its budget."""
    threat: ThreatModel
    queries: int = 3
    gradient_free = True

    @property
    def label(self):
        return f"corner of {self.queries}"

    def __call__(self, model, x, y, *, target=None, stop="success", seed=0, ids=None):
        signs = torch.ones_like(x)
        signs.view(-1)[:: self.queries] = -1
        return self.threat.project(x, x + self.threat.eps * signs)

CORNER = AttackSpec(Corner, "all values to the edge", targeted=True, norms=("linf",))
'''


@pytest.fixture
def toys(place: Path) -> Iterator[Path]:
    """A module with an attack, and a registry that looks for entry points anew and forgets them after the test."""
    (place / "corners.py").write_text(TOYS)
    before = set(ATTACKS)
    yield place
    for name in set(ATTACKS) - before:
        ATTACKS.unregister(name)
    ATTACKS._waiting.clear()
    sys.modules.pop("corners", None)


def installed(place: Path, **entries: str) -> None:
    """A distribution with entry points, as an installer leaves it."""
    info = place / "corners-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: corners\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {value}" for name, value in entries.items())
    (info / "entry_points.txt").write_text(f"[robustlab.attacks]\n{lines}\n")
    _entry_points.cache_clear()
    ATTACKS._waiting.append("group")


@pytest.mark.slow
def test_an_installed_attack_is_evaluated_by_the_command(toys: Path, command: Command) -> None:
    installed(toys, corner="corners:CORNER")
    assert "of other packages corner;" in " ".join(command("evaluate", "--help").out.replace("│", " ").split())
    make_attack("pgd", ThreatModel(Linf(), 0.2))
    assert "corners" not in sys.modules, "neither the help nor a name of ours imports anybody's code"
    assert "all values to the edge" in command("attack", "--list").out
    words = "evaluate tiny:means --data digits --limit 30 --eps 0.2 --out run --attack corner:queries=2,targeted-corner"
    done = command(*words.split())
    assert done.code == 0, done.err
    report = json.loads((toys / "run" / "report.json").read_text())
    assert [one["attack"] for one in report["results"]] == ["corner of 2", "targeted corner of 3"]
    assert "corner of 2" in (toys / "run" / "report.html").read_text()
    assert "did you mean corner?" in command("evaluate", "tiny:means", "--attack", "cornr").err
    assert "corner works in linf" in command("evaluate", "tiny:means", "--attack", "corner", "--norm", "l2").err


@pytest.mark.slow
def test_a_registered_attack_is_evaluated_doubted_and_reported_in_python(toys: Path) -> None:
    import corners as mine  # type: ignore[import-not-found]
    import tiny  # type: ignore[import-not-found]

    ATTACKS.register("corner", mine.CORNER)
    threat, data, model = ThreatModel(Linf(), 0.2), load("digits"), tiny.means().eval()
    corner = make_attack("corner", threat, queries=4)
    got = evaluate(model, data, attacks=[corner, PGD(threat, 3)], n=30, settings=Settings(doctor=False))
    assert [one.attack for one in got.results] == ["corner of 4", "PGD-3"]
    assert "corner of 4" in write([got], toys).read_text()

    def predict(x: NDArray[np.float32]) -> NDArray[np.floating]:
        with torch.no_grad():
            return model(torch.tensor(x)).softmax(1).numpy()  # type: ignore[no-any-return]

    closed = black_box(predict)
    codes = [one.code for one in evaluate(closed, data, attacks=[corner], n=30).findings]
    assert codes == [one.code for one in diagnose(closed, data, attack=corner, n=30)] == ["no-gradients"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("corners:ABSENT", "the attack 'corner' (corners:ABSENT) is left out: AttributeError"),
        ("nowhere:CORNER", "the attack 'corner' (nowhere:CORNER) is left out: ModuleNotFoundError: No module named"),
    ],
)
@pytest.mark.filterwarnings("default")
def test_a_broken_package_is_one_sentence_and_leaves_the_others_alone(
    entry: str, message: str, toys: Path, command: Command
) -> None:
    installed(toys, corner=entry)
    err = command("evaluate", "tiny:means", "--attack", "corner").err
    assert f"Warning: {message}" in err
    assert "there is no attack 'corner'" in err


@pytest.mark.filterwarnings("default")
def test_a_package_cannot_take_the_name_of_an_attack_of_ours(toys: Path, command: Command) -> None:
    installed(toys, pgd="corners:CORNER")
    assert (
        "the attack 'pgd' (corners:CORNER) is left out: ValueError: two members are called 'pgd'"
        in command("attack", "--list").err
    )
    assert make_attack("pgd", ThreatModel(Linf(), 0.2)) == PGD(ThreatModel(Linf(), 0.2), 40)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("pgd:steps", "'steps' is no option of pgd: write pgd:steps=10"),
        ("pgd:steps=many", "steps of pgd 'many' is no number"),
        ("pgd:stesp=3", "pgd has no option 'stesp'; did you mean steps?"),
        ("pgd:restarts=3", "pgd has no option 'restarts': it has steps, step_size"),
        ("psd:steps=3", "there is no attack 'psd'; did you mean pgd?"),
        ("square:rescaled=2", "rescaled of square is on or off, got '2'"),
        ("autoattack:steps=3", "autoattack has no option 'steps': it has none"),
    ],
)
def test_options_of_an_attack_that_make_no_sense_are_refused(typed: str, message: str, command: Command) -> None:
    assert message in command("evaluate", "tiny:means", "--attack", typed).err


def test_options_of_an_attack_count_before_those_of_the_command() -> None:
    from robustlab.attacks import Square
    from robustlab.cli.parse import attack, threat

    limits = threat("linf", 0.1)
    assert attack("pgd:steps=3:step-size=1/50", limits, steps=9) == PGD(limits, 3, 0.02)
    assert attack("square:queries=9:rescaled=yes", limits, steps=9) == Square(limits, 9, rescaled=True)
