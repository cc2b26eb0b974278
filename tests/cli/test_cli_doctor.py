from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

WORDS = ("--data", "digits", "--eps", "0.1", "--steps", "10")
FAULTY = """
import tiny
from robustlab.models import faults


def hot():
    return faults.scaled(tiny.means(), 1e-4).eval()


def bits():
    return faults.fewer_bits(tiny.means()).eval()
"""


@pytest.fixture(autouse=True)
def _faulty(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (place / "faulty.py").write_text(FAULTY)
    monkeypatch.delitem(sys.modules, "faulty", raising=False)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "code"), [("hot", "saturated-softmax"), ("bits", "shattered-gradients")])
def test_strict_fails_on_what_the_doctor_finds(model: str, code: str, command: Command) -> None:
    done = command("doctor", f"faulty:{model}", *WORDS, "--strict")
    assert done.code == 4
    assert code in done.out
    loose = command("evaluate", f"faulty:{model}", *WORDS, "--attack", "pgd", "--limit", "100", "--out", "loose")
    assert loose.code == 0
    assert code in loose.err
    strict = command(
        "evaluate", f"faulty:{model}", *WORDS, "--attack", "pgd", "--limit", "100", "--out", "strict", "--strict"
    )
    assert strict.code == 4


@pytest.mark.slow
def test_serious_findings_come_first_in_the_report(command: Command, place: Path) -> None:
    command("evaluate", "faulty:bits", *WORDS, "--attack", "pgd", "--limit", "100", "--out", "run")
    page = (place / "run" / "report.md").read_text()
    assert page.index("Do not trust these numbers yet") < page.index("shattered-gradients") < page.index("| PGD")


@pytest.mark.slow
def test_the_adaptive_attack_is_run_and_compared(command: Command) -> None:
    words = ("doctor", "faulty:bits", *WORDS, "--limit", "60", "--adaptive", "--surrogate", "tiny:blurred")
    done = command(*words, "--json")
    assert done.code == 0
    got = json.loads(done.out)
    assert "shattered-gradients" in [f["code"] for f in got["findings"]]
    assert got["adaptive"]["after"]["value"] < got["adaptive"]["before"]["value"] - 0.2
    assert got["adaptive"]["high"] < 0
    assert "Transfer" in got["adaptive"]["attack"]
    shown = command(*words).out
    assert "robust accuracy under" in shown
    assert "and the adaptive attack" in shown
