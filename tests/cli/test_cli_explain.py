"""Explanations from the command line, on handwritten digits and models that need no training."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from robustlab.cli.explain_options import target, words
from robustlab.explain import CHECKS, METHODS, NUMBERS

Command = Callable[..., Any]
SMALL = ("--data", "digits", "--limit", "6", "--methods", "gradient", "--checks", "zero-map", "--attacked", "0")


def explained(command: Command, out: str, *more: str, model: str = "tiny:means") -> Any:  # noqa: ANN401 -- the output
    return command("explain", model, *SMALL, "--out", out, *more)


@pytest.mark.slow
def test_explain_writes_a_run_that_report_and_runs_know(command: Command, place: Path) -> None:
    done = explained(command, "one", "--compare", "tiny:blurred")
    assert done.code == 0, done.err
    assert "Report: one/report.html" in done.err
    stored = json.loads((place / "one" / "explanations.json").read_text())
    assert [one["name"] for one in stored["models"]] == ["tiny:means", "tiny:blurred"]
    assert [one["name"] for one in stored["methods"]] == ["gradient"]
    assert stored["data"]["n"] == 6
    html = (place / "one" / "report.html").read_text()
    (place / "one" / "report.html").unlink()
    assert command("report", "one").code == 0
    assert (place / "one" / "report.html").read_text() == html
    listed = command("runs", ".")
    assert "tiny:blurred" in listed.out
    assert "1 method of explanation" in listed.out
    assert "take runs of attacks only" in command("report", "one", "--junit", "x.xml").err
    refused = command("report", "one", "one")
    assert refused.code == 2
    assert "a report of its own" in refused.err


@pytest.mark.slow
def test_json_alone_is_on_standard_output(command: Command) -> None:
    assert json.loads(explained(command, "one", "--json").out)["data"]["n"] == 6


@pytest.mark.slow
def test_the_same_command_goes_on_and_another_is_refused(command: Command) -> None:
    explained(command, "one")
    assert explained(command, "one").code == 0
    refused = explained(command, "one", "--target", "prediction")
    assert refused.code == 2
    assert "target label there, prediction here" in refused.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--methods", "gradeint"), "did you mean gradient"),
        (("--methods", ","), "no name was given"),
        (("--numbers", "gini"), "no number is called"),
        (("--checks", "zero"), "zero-map"),
        (("--layer", "3"), "--layer goes with a method that explains a layer"),
        (("--eps", "much"), "is no number"),
        (("--target", "truth"), "--target is label or prediction"),
        (("--compare", "tiny:wide"), "cannot take inputs"),
    ],
)
def test_bad_input_is_one_sentence(command: Command, more: tuple[str, ...], said: str) -> None:
    done = command("explain", "tiny:means", "--data", "digits", "--limit", "6", "--out", "one", *more)
    assert done.code in (1, 2)
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_a_quick_run_with_pictures_and_an_attack(command: Command, place: Path) -> None:
    typed = ("--quick", "--png", "--numbers", "none", "--checks", "none", "--attacked", "2", "--limit", "3")
    done = command("explain", "tiny:means", "--data", "digits", *typed, "--out", "one")
    assert done.code == 0, done.err
    stored = json.loads((place / "one" / "explanations.json").read_text())
    assert [one["name"] for one in stored["methods"]] == ["gradient", "integrated-gradients"]
    assert (stored["data"]["n"], stored["attacked"], stored["checked"]) == (3, 2, [])
    assert len(list((place / "one" / "png").rglob("*.png"))) == 3 * 2


@pytest.mark.slow
def test_the_help_names_what_is_registered(command: Command) -> None:
    shown = re.sub(r"[\s│]+", " ", command("explain", "--help").out)
    for registry in (METHODS, NUMBERS, CHECKS):
        ours = sorted(name for name in registry if "toy" not in name)
        assert [name for name in ours if not re.search(rf"[ :]{name}[,.] ?", shown)] == []


def test_words_and_targets_as_typed() -> None:
    assert words(None) is None
    assert words(["a, b", "a"]) == ("a", "b")
    assert target("label") == "label"
    with pytest.raises(typer.BadParameter):
        target("")
