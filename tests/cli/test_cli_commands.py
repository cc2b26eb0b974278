"""Each command once for real, on handwritten digits and a model that needs no training."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file


class Done(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Done]
SMALL = ("--data", "digits", "--limit", "40", "--steps", "3", "--eps", "0.02,0.1", "--batch-size", "20")


def evaluate(command: Command, out: str, *words: str, model: str = "tiny:means") -> Done:
    chosen = words if {"--attack", "--quick"} & set(words) else ("--attack", "fgsm,pgd", *words)
    return command("evaluate", model, *SMALL, "--out", out, *chosen)


def test_evaluate_writes_a_run_and_says_where(command: Command, place: Path) -> None:
    done = evaluate(command, "one", "--attack", "fgsm,targeted-pgd", "--attack", "noise")
    assert done.code == 0, done.err
    assert "Report: one/report.html" in done.err
    stored = json.loads((place / "one" / "report.json").read_text())
    assert [a["name"] for a in stored["attacks"]] == ["FGSM", "targeted PGD-3", "RandomNoise"]
    assert [w["eps"] for w in stored["worst"]] == [0.02, 0.1]
    assert stored["model"]["name"] == "tiny:means"
    worst = stored["worst"][-1]["robust"]
    assert f"{100 * worst['value']:.1f} % [{100 * worst['low']:.1f}, {100 * worst['high']:.1f}]" in _plain(done.out)
    assert {"report.html", "report.md", "report.csv", "manifest.json"} <= {p.name for p in (place / "one").iterdir()}


def _plain(text: str) -> str:
    return text.replace("\u202f", " ")


def test_evaluate_prints_json_alone_on_standard_output(command: Command) -> None:
    done = evaluate(command, "one", "--json")
    result = json.loads(done.out)
    assert result["data"]["n"] == 40
    assert result["run"]["command"].startswith("robustlab evaluate")


@pytest.mark.slow
def test_evaluate_runs_autoattack_unless_told_otherwise(command: Command, place: Path) -> None:
    done = command("evaluate", "tiny:means", "--data", "digits", "--limit", "12", "--eps", "0.05", "--out", "one")
    assert done.code == 0, done.err
    stored = json.loads((place / "one" / "report.json").read_text())
    stages = stored["results"][0]["stages"]
    assert [a["name"] for a in stored["attacks"]] == ["AutoAttack standard"]
    assert [s["stage"] for s in stages] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    first = stages[0]
    assert re.search(rf"apgd-ce: \d+/{first['attacked']}, {first['fooled']} fooled", done.err), done.err
    row = rf"fab-t +{stages[2]['attacked']} +{stages[2]['fooled']} +{stages[2]['still_robust']} "
    assert re.search(row, done.out)
    assert stored["caveats"] == []


@pytest.mark.slow
def test_quick_look_says_what_it_leaves_out(command: Command, place: Path) -> None:
    done = evaluate(command, "one", "--quick")
    assert done.code == 0, done.err
    stored = json.loads((place / "one" / "report.json").read_text())
    assert [a["name"] for a in stored["attacks"]] == ["AutoAttack quick"]
    (message,) = stored["caveats"]
    assert "leaves out FAB-T and Square of AutoAttack standard, and 319 of the 359 examples" in message
    assert "an upper bound" in message
    assert message in " ".join(done.out.split())
    assert "upper bound" in (place / "one" / "report.html").read_text()


@pytest.mark.slow
def test_quick_look_takes_a_sample_of_its_own(command: Command, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustlab.cli.evaluate.QUICK", 15)
    words = ("evaluate", "tiny:means", "--data", "digits", "--quick", "--eps", "0.1")
    for out, more, n in (("own", (), 15), ("asked", ("--limit", "4"), 4)):
        assert command(*words, "--out", out, *more).code == 0
        assert json.loads((place / out / "report.json").read_text())["data"]["n"] == n


def test_gate_fails_below_the_lower_bound_and_passes_above(command: Command, place: Path) -> None:
    assert evaluate(command, "one").code == 0
    low = json.loads((place / "one" / "report.json").read_text())["worst"][-1]["robust"]["low"]
    assert 0.05 < low < 0.95
    assert evaluate(command, "one", "--fail-under", str(low - 0.01)).code == 0
    below = evaluate(command, "one", "--fail-under", str(low + 0.01))
    assert below.code == 3
    assert "the lower bound is below" in below.err


@pytest.mark.slow
def test_strict_turns_a_serious_finding_into_exit_4(command: Command) -> None:
    words = ("--data", "digits", "--eps", "0.1", "--steps", "5")
    sound = command("doctor", "tiny:means", *words, "--strict")
    assert (sound.code, sound.out) == (0, "Nothing found.\n")
    loose = command("doctor", "tiny:probabilities", *words)
    assert loose.code == 0
    assert "probabilities" in loose.out
    assert command("doctor", "tiny:probabilities", *words, "--strict").code == 4
    codes = [f["severity"] for f in json.loads(command("doctor", "tiny:probabilities", *words, "--json").out)]
    assert "serious" in codes


@pytest.mark.slow
def test_compare_report_and_runs(command: Command, place: Path) -> None:
    for out, model in (("runs/a", "tiny:means"), ("runs/b", "tiny:blurred")):
        assert evaluate(command, out, model=model).code == 0
    pairs = json.loads(command("compare", "runs/a", "runs/b", "--json").out)
    assert pairs[0]["eps"] is None
    assert sum(pairs[0][key] for key in ("both", "only_a", "only_b", "neither")) == 40
    assert "tiny:blurred over tiny:means" in command("compare", "runs/a", "runs/b").out
    assert command("report", "runs/a", "runs/b", "--headline", "0.02", "--title", "Two <models>").code == 0
    page = (place / "runs" / "report" / "report.html").read_text()
    assert "<h1>Two &lt;models&gt;</h1>" in page
    assert "Linf eps 0.02" in page
    assert "Model against model" in page
    (place / "runs" / "broken").mkdir()
    (place / "runs" / "broken" / "manifest.json").write_text("{}")
    listed = command("runs")
    assert "runs/a" in listed.out
    assert "tiny:blurred" in listed.out
    assert "broken" in listed.err
    assert [Path(line["run"]).name for line in json.loads(command("runs", "--json").out)] == ["a", "b", "broken"]


def test_train_then_evaluate_the_directory_it_wrote(command: Command, place: Path) -> None:
    words = ("train", "batchnorm-cnn", "--data", "digits", "--limit", "100", "--batch-size", "50", "--out", "net")
    first = command(*words, "--epochs", "1", "--recipe", "adversarial", "--attack", "fgsm-rs", "--eps", "0.1", "--json")
    assert first.code == 0, first.err
    assert [e["epoch"] for e in json.loads(first.out)["epochs"]] == [1]
    written = (place / "net" / "model.safetensors").stat().st_mtime_ns
    again = command(*words, "--epochs", "1", "--recipe", "adversarial", "--attack", "fgsm-rs", "--eps", "0.1", "--json")
    assert json.loads(again.out) == json.loads(first.out), "a finished run is not done twice"
    assert written
    other = command(*words, "--epochs", "1", "--recipe", "standard")
    assert other.code == 2
    assert "net" in other.err
    assert command("evaluate", "net", *SMALL, "--attack", "fgsm", "--out", "measured", "--force").code == 0


@pytest.mark.slow
def test_attack_writes_what_it_made_within_the_budget(command: Command, place: Path) -> None:
    done = command("attack", "tiny:means", "--data", "digits", "--ids", "3,5", "--eps", "25/255", "--out", "made")
    assert done.code == 0, done.err
    made = load_file(place / "made" / "adversarial.safetensors")
    assert made["ids"].tolist() == [3, 5]
    assert 0 < float((made["x_adv"].double() - made["x"].double()).abs().max()) <= 25 / 255
    with Image.open(place / "made" / "sheet.png") as sheet:
        assert sheet.size[1] > 300
    lines = json.loads(command("attack", "tiny:means", "--data", "digits", "--limit", "4", "--json").out)
    assert len(lines) == 4
    assert set(lines[0]) == {"example", "label", "before", "after"}


def test_attack_says_where_it_cannot_write(command: Command, place: Path) -> None:
    (place / "file").write_text("")
    done = command("attack", "tiny:means", "--data", "digits", "--limit", "1", "--out", "file")
    assert done.code == 2
    assert "cannot write to file" in done.err


def test_data_lists_and_fetches(command: Command, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("ROBUSTLAB_HOME", str(place / "home"))
    listed = command("data")
    assert "not here; source: " in listed.out
    assert "inside the package scikit-learn" in listed.out
    assert {line["name"] for line in json.loads(command("data", "--json").out)} >= {"fashion-mnist", "digits"}
    fetched = json.loads(command("data", "digits", "--json").out)
    assert [one["n"] for one in fetched] == [1438, 359]
    assert all(len(one["sha256"]) == 64 for one in fetched)


@pytest.mark.slow
def test_interrupted_evaluation_says_how_to_go_on_and_does(place: Path, command: Command) -> None:
    words = ["evaluate", "tiny:means", *SMALL, "--batch-size", "4", "--attack", "fgsm,pgd"]
    # In the background of a script the signal is ignored, and programs that are started there ignore it, too.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program = [sys.executable, "-c", heard + "import sys; from robustlab.cli.main import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*program, *words, "--out", "cut"],
        cwd=place,
        env={**os.environ, "SLOW": "0.08", "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for_outcomes(place / "cut" / "outcomes.sqlite", process)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130, message
    assert "Traceback" not in message
    assert f"resume with: robustlab {' '.join(words)} --out cut" in " ".join(message.split())
    assert not (place / "cut" / "report.json").exists()
    torch.set_num_threads(1)
    for out in ("cut", "whole"):
        assert command(*words, "--out", out).code == 0
    assert _rows(place / "cut") == _rows(place / "whole")
    assert json.loads((place / "cut" / "report.json").read_text())["run"]["sessions"] == 2


def _wait_for_outcomes(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
                if db.execute("SELECT count(*) FROM outcomes").fetchone()[0]:
                    return
        except sqlite3.Error:
            pass
        time.sleep(0.05)
    pytest.fail(f"no outcome was written: {process.poll()}")


def _rows(run: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(run / "outcomes.sqlite")) as db:
        return db.execute("SELECT * FROM outcomes ORDER BY attack, eps, kind, stage, restart, id").fetchall()
