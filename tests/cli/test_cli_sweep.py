"""robustlab sweep: own models, dry runs, going on, known results, wrong use."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from robustlab.cli.main import built
from robustlab.studies.sweep import RULES

Command = Callable[..., Any]
OWN = (
    "sweep",
    "attackers",
    "tiny:means",
    "--data",
    "digits",
    "--eps",
    "0.1",
    "--quick",
    "--seeds",
    "1",
    "--limit",
    "20",
)


@pytest.mark.slow
def test_model_of_ones_own_is_swept_once(command: Command, place: Path) -> None:
    done = command(*OWN, "--out", "swept", "--json")
    assert done.code == 0, done.err
    assert "are not results" in done.err
    (found,) = json.loads(done.out)
    assert (found["subject"], found["threat"], found["n"], found["tuned_on"]) == ("tiny:means", "Linf eps 0.1", 20, 40)
    assert [one["rule"] for one in found["rules"]] == [rule.name for rule in RULES]
    for one in found["rules"]:
        best = one["steps"]["8"]
        assert f"{best['rate']:g}" in one["tuning"]
        assert best["robust"]["n"] == 20
        assert len(one["course"]) == 9
        assert one["course"] == sorted(one["course"], reverse=True)
    paths = sorted((place / "swept" / "quick" / "attackers-tiny-means").iterdir())
    before = [path.read_bytes() for path in paths]
    again = command(*OWN, "--out", "swept")
    assert again.code == 0, again.err
    assert [path.read_bytes() for path in paths] == before
    assert "Robust accuracy of tiny:means, Linf eps 0.1" in again.out
    assert "Results" in again.out
    assert all(rule.title in again.out for rule in RULES)


def test_ctrl_c_says_how_to_go_on(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import robustlab.studies.sweep as studies

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(studies, "attackers", stopped)
    monkeypatch.setattr(studies, "trainers", stopped)
    done = command("sweep", "attackers")
    assert done.code == 130
    assert "resume with: robustlab sweep attackers --out runs/sweep" in done.err
    assert command("sweep", "trainers", "--out", "there").code == 130


def test_without_a_model_its_own_networks_are_attacked(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import robustlab.studies.sweep as studies

    calls = list[tuple[str, int, bool]]()

    def noted(subject: Any, *, seeds: int, spend: Any, **_: object) -> None:  # noqa: ANN401 -- a stand-in
        calls.append((subject.name, seeds, spend == studies.Spend()))
        raise ValueError("enough")

    monkeypatch.setattr(studies, "attackers", noted)
    assert command("sweep", "attackers", "--seeds", "5").code == 2
    assert calls == [("standard", 5, True)]


@pytest.mark.slow
@pytest.mark.parametrize("words", ["sweep attackers --list --json", "sweep trainers --list --json"])
def test_known_results_are_listed_and_nothing_is_computed(words: str, command: Command, place: Path) -> None:
    done = command(*words.split())
    assert done.code == 0
    assert all(one["budget"] == "full" for one in json.loads(done.out))
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sweep nothing", "No such command"),
        ("sweep attackers --eps 0.1", "--data, --eps and the like are for models of your own: add the name of one"),
        ("sweep attackers tiny:means --data digits --norm l1", "compared in linf and l2, not 'l1'"),
        ("sweep attackers tiny:means --data digits --eps 0", "with eps 0 there is nothing to compare"),
        ("sweep attackers tiny:means --data digits --eps x", "eps 'x' is no number"),
        ("sweep attackers tiny:absent", "has no attribute 'absent'"),
        ("sweep attackers tiny:means", "cannot take inputs of shape"),
        ("sweep attackers --seeds 0", "--seeds"),
        ("sweep attackers tiny:means --device tpu", "there is no device 'tpu' here"),
        ("sweep trainers --recipe magic", "no recipe of this sweep is called 'magic': there are standard, fast"),
        ("sweep trainers --device tpu", "there is no device 'tpu' here"),
    ],
)
def test_wrong_use_is_one_line(words: str, message: str, command: Command, place: Path) -> None:
    done = command(*words.split())
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert message in done.err
    assert not (place / "runs").exists()


def test_too_few_images_are_said(command: Command) -> None:
    done = command("sweep", "attackers", "tiny:means", "--data", "digits", "--eps", "0.1")
    assert done.code == 2
    assert "2100 images are needed" in done.err


@pytest.mark.parametrize("name", ["attackers", "trainers"])
def test_examples_in_the_help_are_valid(name: str) -> None:
    one = get_command(built()).commands["sweep"].commands[name]  # type: ignore[attr-defined]  # groups of commands
    program, *words = shlex.split(one.epilog.removeprefix("Example: "))
    assert (program, words[:2]) == ("robustlab", ["sweep", name])
    one.make_context(name, words[2:])
