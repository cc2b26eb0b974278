"""Files for other tools: exports of evaluate and report."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as Xml

import pytest


class Done(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Done]
SMALL = ("--data", "digits", "--limit", "30", "--attack", "pgd", "--steps", "3", "--eps", "0.1")


@pytest.mark.slow
def test_evaluate_writes_every_file_that_was_asked_for(command: Command, place: Path) -> None:
    files = ("--junit", "junit.xml", "--sarif", "deep/findings.sarif", "--model-card", "card.md", "--png")
    done = command("evaluate", "tiny:means", *SMALL, "--out", "one", "--name", "nearest mean", *files)
    assert done.code == 0, done.err
    report = json.loads((place / "one" / "report.json").read_text())
    assert report["model"]["name"] == "nearest mean"
    (suite,) = Xml.parse(place / "junit.xml").getroot()
    assert (suite.get("name"), suite.get("failures")) == ("nearest mean on digits test", "0")
    assert json.loads((place / "deep" / "findings.sarif").read_text())["version"] == "2.1.0"
    assert "## Adversarial robustness" in (place / "card.md").read_text()
    with (place / "one" / "png" / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    robust = report["worst"][-1]["robust"]
    assert len(rows) == report["clean"]["accuracy"]["count"] - robust["count"] > 0
    assert all((place / "one" / "png" / row["png"]).is_file() for row in rows)
    with (place / "one" / "outcomes.csv").open(encoding="utf-8", newline="") as file:
        assert sum(row["outcome"] == "robust" for row in csv.DictReader(file)) == robust["count"]


@pytest.mark.slow
def test_a_gate_that_closes_still_writes_its_files(command: Command, place: Path) -> None:
    done = command("evaluate", "tiny:means", *SMALL, "--out", "one", "--junit", "junit.xml", "--fail-under", "0.99")
    assert done.code == 3
    (suite,) = Xml.parse(place / "junit.xml").getroot()
    assert suite.get("failures") == "1"


def test_a_file_that_cannot_be_written_is_said_in_a_sentence(command: Command, place: Path) -> None:
    (place / "taken").write_text("")
    done = command("evaluate", "tiny:means", *SMALL, "--out", "one", "--sarif", "taken/findings.sarif")
    assert done.code == 2
    assert "taken/findings.sarif cannot be written" in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_report_writes_them_for_several_runs(command: Command, place: Path) -> None:
    for name in ("means", "blurred"):
        assert command("evaluate", f"tiny:{name}", *SMALL, "--out", name).code == 0
    done = command("report", "means", "blurred", "--out", "both", "--junit", "both.xml", "--model-card", "both.md")
    assert done.code == 0, done.err
    assert len(Xml.parse(place / "both.xml").getroot()) == 2
    assert (place / "both.md").read_text().count("\n### ") == 2
    with (place / "both" / "outcomes.csv").open(encoding="utf-8", newline="") as file:
        assert {row["model"] for row in csv.DictReader(file)} == {"tiny:means", "tiny:blurred"}
