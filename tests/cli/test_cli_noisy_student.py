"""``robustlab noisy-student``: all stages, resuming, output, and refused options."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from robustlab import models, training
from robustlab.cli import parse
from robustlab.core import Examples
from robustlab.models.architecture import architecture_of
from robustlab.training import RandAugment, SelfTraining

Command = Callable[..., Any]
DATA = ("--data", "digits", "--limit", "90", "--batch-size", "15", "--epochs", "1")
SMALL = ("noisy-student", *DATA, "--labels", "30", "--ratio", "2", "--threshold", "0.05", "--out", "net")


@pytest.mark.slow
def test_all_stages_run_and_the_student_is_a_plain_checkpoint(command: Command, place: Path) -> None:
    done = command(*SMALL, "--rounds", "2", "--json")
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    assert list(printed["stages"]) == ["teacher", "student 1", "student 2", "fine-tuned"]
    assert [one["examples"] for one in printed["pseudo_labels"]] == [60, 60]
    assert "Run: net; 30 images with labels, 60 without" in done.err
    before = (place / "net" / "model.safetensors").read_bytes()
    assert type(models.load(checkpoint=place / "net" / "model.safetensors")) is models.BatchNormCNN
    assert "--ratio" not in json.dumps(printed)
    again = command(*SMALL, "--rounds", "2")
    assert again.code == 0, again.err
    assert (place / "net" / "model.safetensors").read_bytes() == before, "nothing was left to do"
    assert "Round 2: the teacher is confident enough on" in again.err
    assert "fine-tuned" in again.out
    assert "on its training images" in again.out
    assert "On test images: robustlab evaluate net --data digits" in again.err
    other = command(*SMALL, "--rounds", "2", "--ratio", "3")
    assert other.code == 2
    assert re.search(r"holds another run \(recipe .*ratio=\S+, .* there, .*ratio=3, ", " ".join(other.err.split()))
    shown = command(
        "evaluate", "net", *DATA[:4], "--split", "test", "--attack", "fgsm", "--eps", "0.05", "--out", "e", "--force"
    )
    assert shown.code == 0, shown.err


def test_a_run_without_a_directory_says_where_it_is(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[Path] = []

    def train(*_: object, out: Path, **__: object) -> None:
        places.append(out)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "self_train", train)
    done = command(*SMALL[:-2])
    assert done.err.startswith(f"Run: {places[0]}; 30 images with labels")


@pytest.mark.slow
def test_a_stopped_run_says_how_it_goes_on(command: Command, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = training.NoisyStudent.step

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.NoisyStudent, "step", stop)
    done = command(*SMALL, "--rounds", "1")
    assert done.code == 130
    assert "resume with: robustlab noisy-student --data digits" in " ".join(done.err.split())
    monkeypatch.setattr(training.NoisyStudent, "step", plain)
    assert command(*SMALL, "--rounds", "1").code == 0
    assert (place / "net" / "model.safetensors").exists()


def planned(monkeypatch: pytest.MonkeyPatch, command: Command, *words: str) -> SelfTraining:
    """The plan that words make."""
    plans: list[SelfTraining] = []

    def train(make: object, labelled: object, unlabelled: object, plan: SelfTraining, **_: object) -> None:
        del make, labelled, unlabelled
        plans.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "self_train", train)
    assert command("noisy-student", *words).code == 130
    return plans[0]


LABELLED = (*DATA, "--labels", "30")


def test_what_is_typed_is_what_is_planned(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(monkeypatch, command, *LABELLED)
    assert (plan.rounds, plan.ratio, plan.threshold, plan.per_class, plan.soft) == (3, 4, 0.3, "mean", True)
    assert plan.noise == RandAugment(2, 9)
    assert plan.tuning is not None
    assert plan.teacher is not None
    assert (plan.student.average, plan.teacher.average, plan.tuning.average) == (0.999, None, None)
    words = "--rounds 2 --ratio 1 --threshold 0.5 --per-class 7 --hard --no-noise --average 0 --tune-epochs 0"
    plan = planned(monkeypatch, command, *LABELLED, *words.split(), "--student-epochs", "6", "--hold-out", "9")
    assert (plan.rounds, plan.ratio, plan.threshold, plan.per_class, plan.soft) == (2, 1, 0.5, 7, False)
    assert (plan.noise, plan.tuning, plan.student.average, plan.student.epochs) == (None, None, None, 6)
    assert plan.student.best == "accuracy"
    assert planned(monkeypatch, command, *LABELLED, "--per-class", "all").per_class is None


def lengths(plan: SelfTraining) -> tuple[int | None, ...]:
    """Students, epochs of teacher and student, examples at a time."""
    epochs = None if plan.teacher is None else plan.teacher.epochs
    return plan.rounds, epochs, plan.student.epochs, plan.student.batch_size


def test_a_first_look_is_short_and_takes_its_labels_from_a_fifth(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int | None] = []
    whole = parse.data

    def data(name: str, split: str, *, size: int | None = None, limit: int | None = None, seed: int = 0) -> Examples:
        seen.append(limit)
        return whole(name, split, size=size, limit=limit, seed=seed)

    monkeypatch.setattr(parse, "data", data)
    assert lengths(planned(monkeypatch, command, *LABELLED[:4], "--labels", "30")) == (3, 5, 5, 128)
    assert lengths(planned(monkeypatch, command, "--data", "digits", "--quick")) == (1, 10, 10, 32)
    typed = ("--limit", "60", "--labels", "20", "--rounds", "2", "--epochs", "3", "--batch-size", "8")
    assert lengths(planned(monkeypatch, command, "--data", "digits", "--quick", *typed)) == (2, 3, 3, 8)
    other = ("--unlabelled", "digits", "--unlabelled-split", "test")
    assert lengths(planned(monkeypatch, command, "--data", "digits", "--quick", *other))[0] == 1
    assert seen == [90, 2500, 60, 2500, 2500]
    done = command("noisy-student", "--data", "digits", "--quick", "--limit", "103")
    assert "20 images with labels, 83 without" in done.err


@pytest.mark.parametrize(
    ("words", "images", "warned"),
    [
        ("--unlabelled digits", 1438, True),
        ("--unlabelled digits --unlabelled-split all", 1797, True),
        ("--unlabelled digits --unlabelled-split test", 359, False),
        ("--unlabelled folder:divided --size 8", 4, False),
        ("--unlabelled whole --size 8", 2, False),
    ],
)
def test_images_without_labels_are_those_to_learn_from(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch, words: str, images: int, *, warned: bool
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "self_train", stopped)
    for number, folder in enumerate(["divided/train/a", "divided/train/b", "divided/test/a", "whole/a"] * 2):
        (place / folder).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * number).save(place / folder / f"{number}.png")
    done = command(
        "noisy-student",
        *DATA,
        *words.split(),
    )
    assert f"90 images with labels, {images} without" in done.err
    assert ("--unlabelled digits contains the labelled images" in done.err) is warned


@pytest.mark.parametrize(
    ("words", "rate"), [("", 0.01), ("--learning-rate 0.05", 0.005), ("--optimizer adamw", 0.0001)]
)
def test_fine_tuning_is_at_a_tenth_of_the_rate(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: str, rate: float
) -> None:
    plan = planned(monkeypatch, command, *LABELLED, *words.split())
    assert plan.tuning is not None
    optimizer = plan.tuning.optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)


@pytest.mark.slow
def test_a_trained_teacher_and_other_data_without_labels(command: Command, place: Path) -> None:
    assert command("train", "batchnorm-cnn", *DATA, "--out", "teacher").code == 0
    words = ("--unlabelled", "digits", "--unlabelled-split", "test", "--teacher", "teacher", "--rounds", "1")
    done = command("noisy-student", *DATA, *words, "--threshold", "0.1", "--student", "residual-cnn", "--out", "net")
    assert done.code == 0, done.err
    assert "90 images with labels, 359 without" in done.err
    assert not (place / "net" / "teacher").exists()
    assert type(models.load(checkpoint=place / "net" / "model.safetensors")) is models.ResidualCNN


@pytest.mark.slow
def test_the_student_that_was_tuned_on_larger_images_is_evaluated(command: Command, place: Path) -> None:
    words = ("noisy-student", "residual-cnn", *SMALL[1:], "--rounds", "1", "--tune-size", "12")
    done = command(*words)
    assert done.code == 0, done.err
    made = architecture_of(models.load(checkpoint=place / "net" / "model.safetensors"))
    assert made is not None
    assert (made["name"], made["size"], made["from_size"]) == ("residual-cnn", 12, 8)
    again = command(*words)
    assert again.code == 0, again.err
    shown = command(
        "evaluate", "net", *DATA[:4], "--split", "test", "--attack", "fgsm", "--eps", "0.05", "--out", "e", "--force"
    )
    assert shown.code == 0, shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "there are no unlabelled data: name them with --unlabelled, or set with --labels how many"),
        ("--labels 90", "--labels 90 leaves no other examples: digits train (90 of 1438) has 90 examples"),
        ("--labels 30 --unlabelled digits", "--labels uses the rest of --data without labels: leave out --unl"),
        ("--labels 30 --ratio -1", "Invalid value: --ratio is the number of pseudo-labelled examples for each"),
        ("--labels 30 --per-class most", "--per-class is a number of images, mean or all, got 'most'"),
        ("--labels 30 --threshold 1.5", "Invalid value: --threshold is the lowest confidence of the teacher"),
        ("--labels 30 --average 1.5", "Invalid value: --average is the decay of a moving average of the weights, in"),
        (
            "--labels 30 --threshold 0.9999",
            "the threshold 0.9999: lower --threshold (0 takes all, which resumes with --out net), or train longer",
        ),
        ("--labels 30 --threshold 0.9999 --teacher tiny:means --batch-size 30", "give a better --teacher"),
        ("--labels 30 --teacher tiny:wide", "the teacher cannot take inputs (1, 8, 8) from digits"),
        ("--unlabelled photographs --size 8", "photographs"),
        ("--labels 30 --tune-size 12", "batchnorm-cnn has layers for 8 pixels alone and cannot see images at 12"),
        ("--labels 30 --tune-size 12 --tune-epochs 0", "--tune-size is for the fine-tuning at the end, which --tune-e"),
        ("tiny:means --labels 30 --tune-size 12", "the architecture of this Means is unknown, so it cannot be built"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_sentence(command: Command, words: str, message: str) -> None:
    done = command("noisy-student", *DATA, *words.split(), "--out", "net")
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_a_smaller_student_is_warned_of(command: Command) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        done = command(*SMALL, "--rounds", "1", "--student", "tiny:means")
    assert done.code == 0, done.err
    assert "Noisy Student needs a student that is equal or larger" in " ".join(done.err.split())
