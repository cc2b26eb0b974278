"""Findings before an evaluation are printed before it, serious ones stop it, and doubtful numbers carry a mark."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustlab.attacks import FGSM
from robustlab.cli.codes import Code
from robustlab.core import Linf, ThreatModel
from robustlab.data import InMemory
from robustlab.evaluation import CorruptionSettings, Finding, Settings, evaluate, evaluate_corruptions
from robustlab.report import to_model_card, write

Command = Any
WORDS = ["evaluate", "tiny:probabilities", "--data", "digits", "--limit", "40", "--attack", "fgsm", "--eps", "0.1"]
CORRUPTED = [
    "corruptions", "evaluate", "tiny:probabilities", "--data", "digits", "--limit", "40", "--corruptions",
    "gaussian_noise", "--severities", "1",
]  # fmt: skip


@pytest.mark.parametrize("words", [WORDS, CORRUPTED], ids=["attack", "corruptions"])
def test_something_serious_stops_before_the_attack(words: list[str], command: Command, place: Path) -> None:
    done = command(*words, "--out", "run")
    assert (done.code, done.out) == (Code.SERIOUS, ""), done.err
    first, *_, last = done.err.splitlines()
    assert first.startswith("Warning: tiny:probabilities: The model returns probabilities, not logits")
    assert "(probabilities-for-logits). Leave out the softmax" in first
    assert last.startswith("Error: nothing was evaluated")
    assert "--force" in last
    assert not (place / "run" / "report.json").exists()


@pytest.mark.slow
def test_numbers_that_were_forced_carry_the_mark_everywhere(command: Command, place: Path) -> None:
    done = command(*WORDS, "--out", "run", "--force")
    assert done.code == 0
    mark = "not to be trusted: probabilities-for-logits"
    assert done.err.index("probabilities-for-logits") < done.err.index("Report:")
    assert mark in done.out
    assert mark in command("runs", ".").out
    assert mark in (place / "run" / "report.md").read_text()
    with (place / "run" / "report.csv").open(newline="") as file:
        assert {row["mark"] for row in csv.DictReader(file)} == {mark}
    again = command(*WORDS, "--out", "run", "--force", "--json")
    assert json.loads(again.out)["not_to_be_trusted"] == ["probabilities-for-logits"]


def test_corrupted_numbers_carry_the_mark_too(command: Command, place: Path) -> None:
    done = command(*CORRUPTED, "--out", "run", "--force")
    assert done.code == 0
    assert "tiny:probabilities is not to be trusted: probabilities-for-logits" in done.out
    with (place / "run" / "report.csv").open(newline="") as file:
        assert {row["mark"] for row in csv.DictReader(file)} == {"not to be trusted: probabilities-for-logits"}


@pytest.mark.slow
def test_good_numbers_carry_none(command: Command, place: Path) -> None:
    done = command("evaluate", "tiny:means", *WORDS[2:], "--out", "run")
    assert done.code == 0
    assert "trusted" not in done.out
    assert "trusted" not in (place / "run" / "report.csv").read_text()


def halves(x: Tensor) -> Tensor:
    return (x.flatten(1).mean(1, keepdim=True) - 0.5).mul(torch.tensor([-5.0, 5.0])).softmax(1)


DATA = InMemory("halves", ("dark", "light"), torch.linspace(0, 1, 40).view(40, 1, 1, 1), torch.arange(40) // 20)


@pytest.mark.parametrize("corrupted", [False, True])
def test_python_passes_findings_to_the_listener_and_goes_on(corrupted: bool, tmp_path: Path) -> None:
    findings: list[Sequence[Finding]] = []
    attack = FGSM(ThreatModel(Linf(), 0.1))
    if corrupted:
        data = InMemory("halves", DATA.classes, DATA.x.expand(40, 1, 8, 8), DATA.y)
        settings = CorruptionSettings(inspected=findings.append)
        evaluate_corruptions(halves, data, corruptions=["brightness"], severities=[1], settings=settings)
    else:
        result = evaluate(halves, DATA, attacks=[attack], settings=Settings(inspected=findings.append), out=tmp_path)
        assert {f.code for f in findings[0]} <= {f.code for f in result.findings}
        write([result], tmp_path)
        assert "**not to be trusted: probabilities-for-logits**" in to_model_card([result])
    assert [f.code for f in findings[0] if f.severity == "serious"] == ["probabilities-for-logits"]


def test_an_error_of_the_listener_ends_the_evaluation(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(_: Sequence[Finding]) -> None:
        raise StopError

    with pytest.raises(StopError):
        evaluate(halves, DATA, attacks=[FGSM(ThreatModel())], settings=Settings(inspected=stop), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
