"""JUnit, SARIF, model card, rows and next steps: files for other tools, and next steps for the reader."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from robustlab.evaluation import AttackInfo, Evaluation, Finding, evaluate, read_run
from robustlab.report import next_steps, to_junit, to_model_card, to_sarif, write

Recorder = Callable[..., Evaluation]


def suites(text: str) -> list[Xml.Element]:
    return list(Xml.fromstring(text.partition("\n")[2]))


def test_a_suite_per_model_has_its_accuracies_and_findings(recorded: Recorder, serious: Finding) -> None:
    found = suites(to_junit([recorded("a"), recorded("b", findings=(serious,))]))
    assert [s.get("name") for s in found] == ["a on digits", "b on digits"]
    names = [case.get("name") for case in found[1]]
    assert names[0] == "clean accuracy"
    assert names[-1] == "finding probabilities-for-logits"
    assert "robust accuracy, Linf eps 0.1" in names
    assert [s.get("tests") for s in found] == ["4", "5"]
    assert {s.get("failures") for s in found} == {"0"}


@pytest.mark.parametrize(("bar", "failures"), [(None, 0), (0.05, 0), (0.5, 1)])
def test_only_the_largest_eps_is_judged(recorded: Recorder, bar: float | None, failures: int) -> None:
    (suite,) = suites(to_junit([recorded()], fail_under=bar))
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert suite.get("failures") == str(failures)
    assert failed == ["robust accuracy, Linf eps 0.1"] * failures


def test_serious_findings_fail_where_they_would_end_the_command(recorded: Recorder, serious: Finding) -> None:
    (suite,) = suites(to_junit([recorded(findings=(serious,))], strict=True))
    assert [case.get("name") for case in suite if case.find("failure") is not None] == [
        "finding probabilities-for-logits"
    ]


def test_names_that_xml_cannot_hold_are_cleaned(recorded: Recorder) -> None:
    (suite,) = suites(to_junit([recorded('<b>&"\x00\x1b[31mred')]))
    assert suite.get("name") == '<b>&"[31mred on digits'


def test_sarif_has_a_rule_and_a_result_per_finding(recorded: Recorder, serious: Finding) -> None:
    warning = replace(serious, code="training-mode", severity="warning")
    log = json.loads(to_sarif([recorded(findings=(serious, warning))]))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["probabilities-for-logits", "training-mode"]
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [
        ("probabilities-for-logits", "error"),
        ("training-mode", "warning"),
    ]
    assert "Remove the softmax" in run["results"][0]["message"]["text"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "report.json"


def test_sarif_has_a_result_for_a_missed_minimum(recorded: Recorder) -> None:
    assert json.loads(to_sarif([recorded()], fail_under=0.05))["runs"][0]["results"] == []
    (result,) = json.loads(to_sarif([recorded()], fail_under=0.5))["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("robust-accuracy", "error")


def test_a_model_card_has_numbers_n_and_caveats(recorded: Recorder, serious: Finding) -> None:
    card = to_model_card([recorded("my|model", findings=(serious,))])
    assert card.startswith("## Adversarial robustness\n")
    assert "n = 200" in card
    assert "Linf eps 0.1, worst of all attacks" in card
    assert "12.0" in card, "24 of 200"
    assert "upper bound" in card
    assert "- **serious**, `probabilities-for-logits`" in card
    two = to_model_card([recorded("a"), recorded("b")])
    assert two.count("\n### ") == 2


def test_next_steps_begin_with_what_makes_numbers_doubtful(recorded: Recorder, serious: Finding) -> None:
    masked = replace(serious, code="zero-gradients")
    steps = next_steps([recorded(findings=(masked,))])
    assert "zero-gradients" in steps[0]
    assert "--adaptive" in steps[1]
    sound = next_steps([recorded()])
    assert not any("zero-gradients" in step or "--adaptive" in step for step in sound)


def test_next_steps_follow_what_was_left_out(recorded: Recorder) -> None:
    plain = recorded()
    assert any("AutoAttack standard" in step for step in next_steps([plain]))
    quick = (AttackInfo("AutoAttack", "AutoAttack(...)", left_out=("FAB-T and Square",)),)
    steps = next_steps([replace(plain, attacks=quick)])
    assert any("without --quick" in step for step in steps)
    assert not any("leave out --attack" in step for step in steps)


def test_more_examples_are_advised_only_where_there_are_more_and_they_matter(recorded: Recorder) -> None:
    few = recorded()  # 24 of 200: an interval of 8 to 17 %
    (step,) = [step for step in next_steps([few]) if "more examples" in step]
    assert "--limit 360" in step, "all that there are"
    everything = replace(few, data=replace(few.data, population=200))
    assert not [step for step in next_steps([everything]) if "more examples" in step]


def test_report_writes_rows_and_next_steps(tmp_path: Path) -> None:
    import torch
    from torch import nn

    from robustlab.attacks import FGSM
    from robustlab.core import Linf, ThreatModel

    x = torch.rand(12, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    y = torch.arange(12) % 2
    evaluate(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (x, y), attacks=[FGSM(ThreatModel(Linf(), 0.1))],
             out=tmp_path / "run")  # fmt: skip
    result = read_run(tmp_path / "run")
    page = write([result], tmp_path / "run")
    with (tmp_path / "run" / "outcomes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert sum(row["outcome"] == "robust" for row in rows) == result.worst[-1].robust.count
    assert {row["linf"] for row in rows if row["outcome"] == "misclassified"} <= {""}
    assert "What to do next" in page.read_text(encoding="utf-8")
    assert "## What to do next" in page.with_suffix(".md").read_text(encoding="utf-8")
