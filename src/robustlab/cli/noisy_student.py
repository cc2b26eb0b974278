"""robustlab noisy-student: learn from images without labels, by what a teacher says of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from robustlab.cli import noisy_student_options as n
from robustlab.cli import options as o
from robustlab.cli import parse, show, training
from robustlab.cli import train_options as t
from robustlab.cli.codes import Code
from robustlab.cli.run import directory, resumable

if TYPE_CHECKING:
    from torch import nn

    from robustlab.core import Examples
    from robustlab.training import History, Progress, SelfTrained, SelfTraining, Settings
    from robustlab.training.pseudo_labels import PerClass
    from robustlab.training.self_training import Enlarge, Make, Watcher

EXAMPLE = "robustlab noisy-student batchnorm-cnn --data fashion-mnist --labels 2000 --ratio 4 --out runs/student"


class Lengths(NamedTuple):
    """What counts where nothing is typed."""

    rounds: int
    teacher: int
    """Epochs of the first teacher."""
    student: int
    """Epochs of each student."""
    images: int | None
    """How many are used, and how many of those without labels if they are a data set of their own; None: all."""
    batch: int | None
    """Few images need small batches for enough updates; None: the usual ones."""


USUAL, QUICK = Lengths(3, 5, 5, None, None), Lengths(1, 10, 10, 2500, 32)
_LABELLED = 5  # one image in so many keeps its label in a first look


def noisy_student(
    model: n.Name = "batchnorm-cnn",
    data: o.Data = "fashion-mnist",
    split: o.Split = "train",
    size: o.Size = None,
    limit: o.Limit = None,
    labels: n.Labels = None,
    unlabelled: n.Unlabelled = None,
    unlabelled_split: n.UnlabelledSplit = None,
    teacher: n.Teacher = None,
    quick: n.Quick = False,
    rounds: n.Rounds = None,
    epochs: n.Epochs = None,
    student_epochs: n.StudentEpochs = None,
    tune_epochs: n.TuneEpochs = 1,
    tune_size: n.TuneSize = None,
    hold_out: n.HoldOut = None,
    student: n.Student = None,
    magnitude: n.Magnitude = 9,
    no_noise: n.NoNoise = False,
    average: n.Average = 0.999,
    ratio: n.Ratio = 4,
    threshold: n.Threshold = 0.3,
    per_class: n.PerClass = "mean",
    hard: n.Hard = False,
    batch_size: t.BatchSize = None,
    precision: t.Precision = None,
    optimizer: t.Optimizer = None,
    learning_rate: t.Rate = None,
    weight_decay: t.WeightDecay = None,
    schedule: t.Schedule = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    out: o.Out = None,
    json: o.Json = False,
) -> None:
    """Noisy Student: a teacher names images without labels, a student learns from them with noise, and is next teacher.

    The teacher sees the images as they are; the student sees them changed by RandAugment, with the dropout and
    stochastic depth of its network, on labelled and pseudo-labelled images together. Labels of the images without
    labels are never read, also where they exist. Ctrl-C keeps what is done; the same command with --out DIRECTORY goes
    on in the stage where it was. The last student is in model.safetensors, which robustlab evaluate reads.
    """
    from robustlab.core.processes import launched
    from robustlab.training import RandAugment, SelfTraining

    usual = QUICK if quick else USUAL
    length = training.Length(batch_size=batch_size or usual.batch, precision=precision)
    rule = training.Rule(optimizer, learning_rate, None, weight_decay, schedule)

    def settings(epochs: int, rule: training.Rule = rule) -> Settings:
        typed = replace(length, epochs=epochs)
        best, place = "accuracy" if hold_out else None, parse.device(device).type
        return training.settings(typed, rule, training.PLAIN, seed=seed, device=place, best=best)

    way = settings(student_epochs or epochs or usual.student)
    with training.flagged("average", "ratio", "threshold"):
        plan = SelfTraining(
            replace(way, average=average or None),
            settings(epochs or usual.teacher) if teacher is None else None,
            settings(tune_epochs, _gentle(rule)) if tune_epochs else None,
            rounds=rounds or usual.rounds, ratio=ratio, noise=None if no_noise else RandAugment(magnitude=magnitude),
            threshold=threshold, per_class=_per_class(per_class), soft=not hard,
            enlarge=_enlarged(tune_size, tune_epochs),
        )  # fmt: skip
    found = parse.data(data, split, size=size, limit=limit or usual.images, seed=seed)
    held, rest = (None, found) if hold_out is None else parse.apart("--hold-out", hold_out, found, seed)
    labels = labels or (len(rest) // _LABELLED if quick and unlabelled is None else None)
    pool = None if unlabelled is None else (unlabelled, unlabelled_split or parse.learned_part(unlabelled))
    other = None if pool is None else _pool(pool, (data, split), size=size, limit=usual.images)
    parts = _divided(rest, labels, other, seed)

    def make(number: int) -> nn.Module:
        if number == 0 and teacher is not None:
            return parse.model(teacher, None, None, parse.device("cpu"))
        name = model if number == 0 else student or model
        return parse.fitting(parse.untrained(name, found, seed + number), found)

    place = directory(out, "noisy-student", student or model)
    if launched().first:
        show.say(f"Run: {place}; {len(parts[0])} images with labels, {len(parts[1])} without{_precision(way, place)}")
    done = _trained(make, parts, plan, held=held, place=place)
    _finished(done, place, ["--data", data, *(["--size", str(size)] if size else [])], json=json)


def _precision(way: Settings, place: Path) -> str:
    """What students, and the teacher if it is trained here, are trained in."""
    return "; precision: " + training.taken(way, place / "teacher", place / "round-1" / "student")


def _enlarged(side: int | None, epochs: int) -> Enlarge | None:
    """What lets the last student see images at another size."""
    from robustlab.models import at_size

    if side is None:
        return None
    if not epochs:
        raise typer.BadParameter("--tune-size is for the fine-tuning at the end, which --tune-epochs 0 leaves out")
    return partial(at_size, side=side)


def _gentle(rule: training.Rule) -> training.Rule:
    """The rule of the updates, at a tenth of its rate."""
    usual = 1e-3 if (rule.optimizer or "sgd").startswith("adam") else 0.1
    return replace(rule, learning_rate=(usual if rule.learning_rate is None else rule.learning_rate) / 10)


def _per_class(typed: str) -> PerClass:
    if typed in ("mean", "all"):
        return "mean" if typed == "mean" else None
    if not typed.isdecimal() or not int(typed):
        raise typer.BadParameter(f"--per-class is a number of images, mean or all, got {typed!r}")
    return int(typed)


def _pool(pool: tuple[str, str], data: tuple[str, str], *, size: int | None, limit: int | None) -> Examples:
    """What is used without labels, by name and split; warns if it is of the data that have labels."""
    from robustlab.core.processes import launched

    if parse.overlapping(data, pool) and launched().first:
        show.say(
            f"--unlabelled {pool[0]} is where the labels are from: images with labels, and what --hold-out keeps "
            "apart, are used without labels, too; say --labels N in its place to use only the others",
            "warning",
        )
    return parse.data(*pool, size=size, limit=limit)


def _divided(examples: Examples, labels: int | None, other: Examples | None, seed: int) -> tuple[Examples, Examples]:
    """What has labels, and what has none."""
    if other is not None:
        if labels is not None:
            raise typer.BadParameter("--labels takes the labels from the rest of the data: leave out --unlabelled")
        return examples, other
    if labels is None:
        raise typer.BadParameter(
            "there are no unlabelled data: say with --unlabelled which they are, or with --labels how many of these "
            "examples keep their label"
        )
    return parse.apart("--labels", labels, examples, seed)


def _trained(
    make: Make,
    parts: tuple[Examples, Examples],
    plan: SelfTraining,
    *,
    held: Examples | None,
    place: Path,
) -> SelfTrained:
    """Does all stages; exits with a code of its own if the loss is no number any more."""
    from robustlab.training import DivergedError, self_train
    from robustlab.training.pseudo_labels import UnsureError

    try:
        with resumable(place), _watching() as progress:
            return self_train(make, *parts, plan, out=place, held=held, progress=progress)
    except DivergedError as error:
        show.say(str(error), "error")
        raise typer.Exit(Code.DIVERGED) from error
    except UnsureError as error:
        raise ValueError(f"{error.seen}: {_ways_out(plan, place)}") from error


def _ways_out(plan: SelfTraining, place: Path) -> str:
    """What to do about a teacher that is not sure of anything; a student that there is keeps its threshold."""
    student = (place / "round-1" / "student").exists()
    going_on = "" if student else f", which goes on with --out {place}"
    better = "give a better --teacher" if plan.teacher is None else "train longer with more --epochs"
    return f"lower --threshold (0 takes all{going_on}), or {better}"


@contextmanager
def _watching() -> Iterator[Watcher]:
    """A bar for each stage."""
    from robustlab.training.progress import said

    with show.bars() as bar:

        def tell(stage: str, at: Progress) -> None:
            done = (at.epoch - 1) * at.steps + at.step
            words = f"epoch {at.epoch}/{at.epochs}  {said(at)}" if "loss" in at.metrics else ""
            bar(stage.replace("/", ", "), done / (at.epochs * at.steps), words)

        yield tell


def _finished(done: SelfTrained, place: Path, data: Sequence[str], *, json: bool) -> None:
    """Writes the last student's weights and says what came of it, and how to measure it on data."""
    from robustlab.core.processes import launched

    if not launched().first:
        return
    weights = training.kept(done.model, place)
    if json:
        show.machine({"model": str(weights), **_told(done)})
    else:
        _shown(done)
    show.say(f"Model: {weights}", "good")
    show.say(f"On test images: {shlex.join(['robustlab', 'evaluate', str(place), *data])}")


def _stages(done: SelfTrained) -> dict[str, History]:
    """The trainings by what they are called."""
    rounds = {f"student {number}": one.student for number, one in enumerate(done.rounds, start=1)}
    stages = {"teacher": done.teacher, **rounds, "fine-tuned": done.tuning}
    return {name: history for name, history in stages.items() if history is not None}


def _told(done: SelfTrained) -> dict[str, object]:
    trained = {name: {"best": h.best, "epochs": h.epochs} for name, h in _stages(done).items()}
    return {"stages": trained, "pseudo_labels": [one.pseudo.summary() for one in done.rounds], "seconds": done.seconds}


def _shown(done: SelfTrained) -> None:
    """What students learned from, and how far each training came."""
    for number, one in enumerate(done.rounds, start=1):
        told = one.pseudo.summary()
        show.say(
            f"Round {number}: the teacher is sure enough of {told['confident']} of {told['examples']} images; "
            f"the student learned from {told['chosen']}, {told['different']} of them different"
        )
    stages = _stages(done)
    names = [name for name in ("accuracy", "validation_accuracy") if all(name in h.epochs[-1] for h in stages.values())]
    rows = []
    for stage, history in stages.items():
        last = history.epochs[(history.best or len(history.epochs)) - 1]
        seconds = sum(history["seconds"])
        rows.append([stage, str(len(history.epochs)), *(f"{last[name]:.1%}" for name in names), f"{seconds:.1f}"])
    titles = {"accuracy": "on its training images", "validation_accuracy": "held out"}
    show.table(["training", "epochs", *(titles[name] for name in names), "seconds"], rows)
