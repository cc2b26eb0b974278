"""robustlab reproduce: list, dry run, go on, wrong use."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from robustlab.cli.main import built
from robustlab.cli.reproduce import EXAMPLE
from robustlab.studies import CLAIMS

Command = Callable[..., Any]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits, and a dry run of next to nothing."""
    import robustlab.studies as studies
    import robustlab.studies.claim_engine.lab as lab
    from robustlab.data.digits import digits

    monkeypatch.setattr(lab, "_fetched", lambda split: digits(split, enlarged=True))
    monkeypatch.setattr(studies, "QUICK", studies.Budget("quick", 64, 1, 4))


@pytest.mark.slow
def test_list_says_everything_and_computes_nothing(command: Command, place: Path) -> None:
    done = command("reproduce", "--list")
    assert done.code == 0
    for claim in CLAIMS:
        assert f"{claim.name}\n  {claim.statement}\n  paper: {claim.published}" in done.out
    assert done.out.count("verdict: ") == len(CLAIMS)
    assert not (place / "runs").exists()


def test_list_of_one_claim_as_json(command: Command) -> None:
    (found,) = json.loads(command("reproduce", "fgsm-training", "--list", "--json").out)
    assert found["claim"] == "fgsm-training"
    assert found["effects"][0]["smallest"] == 2.0


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_dry_run_ends_with_a_warning_and_is_not_done_twice(command: Command, place: Path) -> None:
    done = command("reproduce", "fgsm-training", "--quick", "--seeds", "1", "--out", "again")
    assert done.code == 0, done.err
    assert "verdict: not enough evidence (1 seed)" in done.out
    assert "are not results" in done.err
    paths = sorted((place / "again" / "quick" / "fgsm-training").iterdir())
    assert [path.name for path in paths] == ["fgsm-trained-0.json", "standard-0.json"]
    before = [path.read_bytes() for path in paths]
    assert command("reproduce", "fgsm-training", "--quick", "--seeds", "1", "--out", "again").code == 0
    assert [path.read_bytes() for path in paths] == before


def test_ctrl_c_says_how_to_go_on(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from robustlab.studies.claim_engine.lab import Lab

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lab, "trained", stopped)
    done = command("reproduce", "fgsm-training")
    assert done.code == 130
    assert "resume with: robustlab reproduce fgsm-training --out runs/claims" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("reproduce magic", "no claim is called 'magic': there are fgsm-fools-linear-and-maxout"),
        ("reproduce magic --list", "no claim is called 'magic'"),
        ("reproduce --seeds 0", "--seeds"),
    ],
)
def test_wrong_use_is_one_line(words: str, message: str, command: Command) -> None:
    done = command(*words.split())
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert message in done.err


def test_example_in_the_help_is_valid() -> None:
    one = get_command(built()).commands["reproduce"]  # type: ignore[attr-defined]  # the app is a group of commands
    assert one.epilog == f"Example: {EXAMPLE}"
    one.make_context("reproduce", shlex.split(EXAMPLE)[2:])
