"""Corruptions from the command line, on handwritten digits and models that need no training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from robustlab.cli.corruption_options import names, severities

Command = Callable[..., Any]
SMALL = ("--data", "digits", "--limit", "30", "--corruptions", "gaussian_noise,contrast")


def evaluated(command: Command, out: str, *words: str, model: str = "tiny:means") -> Any:  # noqa: ANN401 -- the output
    return command("corruptions", "evaluate", model, *SMALL, "--severities", "1,5", "--out", out, *words)


def plain(text: str) -> str:
    return " ".join(text.replace("\u202f", " ").split())


def test_evaluate_writes_a_run_and_prints_its_numbers(command: Command, place: Path) -> None:
    done = evaluated(command, "one")
    assert done.code == 0, done.err
    assert "Report: one/report.html" in done.err
    stored = json.loads((place / "one" / "corruptions.json").read_text())
    assert [(c["corruption"], c["severity"]) for c in stored["cells"]] == [
        ("gaussian_noise", 1), ("gaussian_noise", 5), ("contrast", 1), ("contrast", 5),
    ]  # fmt: skip
    assert stored["model"]["name"] == "tiny:means"
    shares = [100 * c["accuracy"]["value"] for c in stored["cells"][2:]]
    assert f"contrast {shares[0]:.1f} {shares[1]:.1f} {sum(shares) / 2:.1f}" in plain(done.out)
    assert "this is not the mCE of ImageNet-C" in plain(done.out)
    names = {p.name for p in (place / "one").iterdir()}
    assert {"report.html", "report.md", "report.csv", "manifest.json", "corruptions.json"} <= names


def test_json_alone_is_on_standard_output(command: Command) -> None:
    done = evaluated(command, "one", "--json")
    assert json.loads(done.out)["data"]["n"] == 30


@pytest.mark.slow
def test_gate_is_the_lower_bound_of_mean_accuracy(command: Command, place: Path) -> None:
    assert evaluated(command, "one", "--fail-under", "0.05").code == 0
    stored = json.loads((place / "one" / "corruptions.json").read_text())
    low = 1 - stored["errors"]["mean_error"]["high"]
    assert evaluated(command, "one", "--fail-under", f"{low - 0.001}").code == 0
    failed = evaluated(command, "one", "--fail-under", f"{low + 0.001}")
    assert failed.code == 3
    assert "the lower bound is below" in failed.err


@pytest.mark.slow
def test_runs_are_compared_reported_and_listed_together(command: Command, place: Path) -> None:
    evaluated(command, "one")
    evaluated(command, "two", "--baseline", "one", model="tiny:blurred")
    words = ("--data", "digits", "--limit", "30", "--attack", "fgsm", "--eps", "0.1")
    assert command("evaluate", "tiny:means", *words, "--out", "attacked").code == 0
    stored = json.loads((place / "two" / "corruptions.json").read_text())
    assert stored["errors"]["baseline"] == "tiny:means"
    pair = json.loads(command("compare", "one", "two", "--json").out)
    assert (pair["a"], pair["b"]) == ("tiny:means", "tiny:blurred")
    assert "tiny:blurred over tiny:means, 30 images" in plain(command("compare", "one", "two").out)
    mixed = command("compare", "one", "attacked")
    assert mixed.code == 2
    assert "holds a run over corrupted images" in mixed.err
    done = command("report", "one", "two", "attacked", "--out", "both")
    assert done.code == 0, done.err
    page = (place / "both" / "report.html").read_text()
    assert "Attacked, Linf eps 0.1" in page
    assert "tiny:blurred over tiny:means" in page
    listed = json.loads(command("runs", ".", "--json").out)
    assert {line["run"]: line["at"] for line in listed} == {
        "attacked": "Linf 0.1", "one": "2 corruptions", "two": "2 corruptions",
    }  # fmt: skip


@pytest.mark.slow
def test_subsets_and_attacks_stand_in_the_report(command: Command, place: Path) -> None:
    words = ("--data", "digits", "--limit", "30", "--attack", "fgsm", "--eps", "0.1")
    command("evaluate", "tiny:means", *words, "--out", "attacked")
    done = evaluated(command, "one", "--subset", "digits", "--attacked", "attacked")
    assert done.code == 0, done.err
    stored = json.loads((place / "one" / "corruptions.json").read_text())
    assert [(s["name"], s["n"]) for s in stored["subsets"]] == [("digits", 30)]
    assert "Attacked, Linf eps 0.1" in (place / "one" / "report.html").read_text()
    other = evaluated(command, "two", "--attacked", "attacked", model="tiny:blurred")
    assert other.code == 2
    assert "of other weights" in other.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--corruptions fogg", "no corruption is called 'fogg'; did you mean fog?"),
        ("--severities 0-3", "severities are whole numbers from 1 to 5, got 0"),
        ("--severities x", "severities 'x' are no numbers: write 1-5 or 1,3,5"),
        ("--corruptions ,", "no corruption was given"),
        (
            "--variant imagenet",
            "there is no variant 'imagenet'; did you mean imagenet-c? Choose imagenet-c, corrected",
        ),
        ("--clean digits", "--clean goes with images that are corrupted already"),
        ("--corruptions fog --baseline nowhere", "is nowhere a run directory?"),
        ("", "are 8 pixels on a side; defocus_blur"),
    ],
)
def test_wrong_use_is_one_line(words: str, message: str, command: Command) -> None:
    done = command("corruptions", "evaluate", "tiny:means", "--data", "digits", "--limit", "10", *words.split())
    assert done.code == 2
    assert message in plain(done.err)


def test_all_corruptions_and_ranges_of_severities() -> None:
    named = names(["all"])
    assert named is not None
    assert len(named) == 19
    assert names(None) is None
    assert severities("2-4") == [2, 3, 4]
    with pytest.raises(typer.BadParameter, match="got 6"):
        severities("4-6")


def test_copy_writes_what_is_evaluated_by_name(command: Command, place: Path) -> None:
    words = ("digits", "--limit", "30", "--corruptions", "gaussian_noise,contrast", "--workers", "1")
    done = command("corruptions", "copy", *words)
    assert done.code == 0, done.err
    assert "300 images as npy in arrays" in plain(done.out)
    assert (place / "digits-c" / "SHA256SUMS").is_file()
    again = command("corruptions", "copy", *words, "--json")
    assert json.loads(again.out)["n"] == 30
    checked = command("corruptions", "copy", "digits", "--check")
    assert (checked.code, "are what was written" in checked.err) == (0, True)
    (place / "digits-c" / "labels.npy").unlink()
    failed = command("corruptions", "copy", "digits", "--check")
    assert failed.code == 2
    assert "labels.npy is missing, or differs from what was written" in plain(failed.err)


def test_a_copy_brings_its_clean_images(command: Command, place: Path) -> None:
    command("corruptions", "copy", "digits", "--corruptions", "contrast", "--workers", "1", "--limit", "40")
    done = command("corruptions", "evaluate", "tiny:means", "--data", "corrupted:digits-c", "--out", "one")
    assert done.code == 0, done.err
    stored = json.loads((place / "one" / "corruptions.json").read_text())
    assert stored["clean"]["accuracy"]["n"] == 40
    assert stored["variant"] == "imagenet-c"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--layout tar", "there is no layout 'tar': choose arrays, folders"),
        ("--format gif", "there is no format 'gif': choose png, jpeg"),
        ("--corruptions fogg", "did you mean fog?"),
        ("--corruptions contrast --severities 2 --layout arrays", "arrays hold all five severities"),
        ("--check", "the copy in digits-c is not finished"),
    ],
)
def test_wrong_use_of_copy_is_one_line(words: str, message: str, command: Command, place: Path) -> None:
    done = command("corruptions", "copy", "digits", *words.split())
    assert done.code == 2
    assert message in plain(done.err)
    assert not (place / "digits-c").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("evaluate m --natural --data digits", "corruptions are evaluated with robustlab corruptions evaluate MODEL."),
        ("evaluate m --corruptions fog", "has no --corruptions: corruptions are evaluated with robustlab corruptions"),
        ("corrupt digits --out there", "robustlab corrupt is now robustlab corruptions copy DATA."),
        ("train shallow-cnn --recipe advprop --norm-mode eval", "--norm-mode is now --bn-mode."),
        ("finetune --model m --shared-norms", "--shared-norms is now --shared-bn."),
    ],
)
def test_former_words_get_the_present_ones(words: str, sentence: str, command: Command) -> None:
    done = command(*words.split())
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert sentence in done.err


def test_other_unknown_words_are_not_former_ones(command: Command) -> None:
    assert "No such option: --natural" in command("doctor", "m", "--natural").err
    assert "No such command 'corrupts'" in command("corrupts").err


def test_the_directory_of_a_run_is_named_after_corruptions(command: Command, place: Path) -> None:
    done = command("corruptions", "evaluate", "tiny:means", *SMALL, "--severities", "1", "--name", "mine")
    assert done.code == 0, done.err
    (run,) = (place / "runs").iterdir()
    assert run.name.endswith("-tiny-means-corruptions-digits")
    assert done.out.startswith("mine: ")
