"""robustlab noisy-student: learn from images without labels, by what a teacher says of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import parse, show, training
from robustlab.cli import train_options as t
from robustlab.cli.run import DIVERGED, directory, resumable

if TYPE_CHECKING:
    from torch import nn

    from robustlab.core import Examples
    from robustlab.training import History, Progress, SelfTrained, SelfTraining, Settings
    from robustlab.training.pseudo_labels import PerClass
    from robustlab.training.self_training import Make, Watcher

EXAMPLE = "robustlab noisy-student batchnorm-cnn --data fashion-mnist --labels 2000 --ratio 4 --out runs/student"
STUDENT, LABELS, STAGES = "Student", "Pseudo-labels", "Stages"

Name = Annotated[
    str,
    typer.Argument(
        help="Name of the network (batchnorm-cnn, timm:efficientnet_b0,stride=1,dropout=0.2,drop_path=0.2), or "
        "package.module:function: of the teacher, and of the students unless --student says something else.",
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        help="A trained one: a checkpoint, a training run, or package.module:function. Default: it is trained on the "
        "labels.",
        rich_help_panel=STAGES,
    ),
]
Student = Annotated[
    str | None,
    typer.Option("--student", help="Name of the students' network, equal or larger.", rich_help_panel=STUDENT),
]
Labels = Annotated[
    int | None,
    typer.Option(
        "--labels",
        min=1,
        help="Only so many examples keep their label; the others are used without.",
        rich_help_panel=o.WHAT,
    ),
]
Unlabelled = Annotated[
    str | None,
    typer.Option(
        "--unlabelled",
        help="Name of a data set, or a folder of folders of images, that is used without labels; instead of --labels.",
        rich_help_panel=o.WHAT,
    ),
]
UnlabelledSplit = Annotated[
    str, typer.Option("--unlabelled-split", help="Which part of --unlabelled.", rich_help_panel=o.WHAT)
]
Rounds = Annotated[
    int, typer.Option("--rounds", min=1, help="Students; each is the teacher of the next.", rich_help_panel=STAGES)
]
Ratio = Annotated[
    int,
    typer.Option(
        "--ratio",
        help="Pseudo-labelled images with each labelled one; they come on top of the batch.",
        rich_help_panel=LABELS,
    ),
]
Threshold = Annotated[
    float,
    typer.Option(
        "--threshold",
        help="Images are left out of which the teacher is not more confident.",
        rich_help_panel=LABELS,
    ),
]
PerClassOption = Annotated[
    str,
    typer.Option(
        "--per-class",
        help="Images of each class: a number, mean (of what there is), or all, as many as there are. The most "
        "confident are kept, classes with fewer repeat theirs.",
        rich_help_panel=LABELS,
    ),
]
Hard = Annotated[
    bool,
    typer.Option("--hard", help="Learn the most probable class, not the probabilities.", rich_help_panel=LABELS),
]
Magnitude = Annotated[
    int,
    typer.Option(
        "--magnitude", min=0, max=30, help="Of the two operations of RandAugment, 0..30.", rich_help_panel=STUDENT
    ),
]
NoNoise = Annotated[
    bool, typer.Option("--no-noise", help="Leave the images of students as they are.", rich_help_panel=STUDENT)
]
Average = Annotated[
    float,
    typer.Option(
        "--average", help="Decay of the moving average of a student's weights; 0: none.", rich_help_panel=STUDENT
    ),
]
StudentEpochs = Annotated[
    int | None,
    typer.Option(
        "--student-epochs",
        min=1,
        help="Passes of each student over the labelled images; default as --epochs.",
        rich_help_panel=STAGES,
    ),
]
Epochs = Annotated[
    int, typer.Option("--epochs", min=1, help="Passes of the first teacher over them.", rich_help_panel=STAGES)
]
TuneEpochs = Annotated[
    int,
    typer.Option(
        "--tune-epochs",
        min=0,
        help="Of the last student at the end, on labelled images, without noise and at a tenth of the rate; 0: none.",
        rich_help_panel=STAGES,
    ),
]
HoldOut = Annotated[
    int | None,
    typer.Option(
        "--hold-out",
        min=1,
        help="Keep so many labelled images apart; of each training the epoch with the best accuracy on them is kept.",
        rich_help_panel=STAGES,
    ),
]


def noisy_student(
    model: Name = "batchnorm-cnn",
    data: o.Data = "fashion-mnist",
    split: o.Split = "train",
    size: o.Size = None,
    limit: o.Limit = None,
    labels: Labels = None,
    unlabelled: Unlabelled = None,
    unlabelled_split: UnlabelledSplit = "all",
    teacher: Teacher = None,
    rounds: Rounds = 3,
    epochs: Epochs = 5,
    student_epochs: StudentEpochs = None,
    tune_epochs: TuneEpochs = 1,
    hold_out: HoldOut = None,
    student: Student = None,
    magnitude: Magnitude = 9,
    no_noise: NoNoise = False,
    average: Average = 0.999,
    ratio: Ratio = 4,
    threshold: Threshold = 0.3,
    per_class: PerClassOption = "mean",
    hard: Hard = False,
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

    length = training.Length(batch_size=batch_size, precision=precision)
    rule = training.Rule(optimizer, learning_rate, None, weight_decay, schedule)

    def settings(epochs: int, rule: training.Rule = rule) -> Settings:
        typed = replace(length, epochs=epochs)
        best, place = "accuracy" if hold_out else None, parse.device(device).type
        return training.settings(typed, rule, training.PLAIN, seed=seed, device=place, best=best)

    way = settings(student_epochs or epochs)
    plan = SelfTraining(
        replace(way, average=average or None),
        settings(epochs) if teacher is None else None,
        settings(tune_epochs, _gentle(rule)) if tune_epochs else None,
        rounds=rounds, ratio=ratio, noise=None if no_noise else RandAugment(magnitude=magnitude),
        threshold=threshold, per_class=_per_class(per_class), soft=not hard,
    )  # fmt: skip
    found = parse.data(data, split, size=size, limit=limit, seed=seed)
    held, rest = (None, found) if hold_out is None else parse.apart("--hold-out", hold_out, found, seed)
    other = None if unlabelled is None else parse.data(unlabelled, unlabelled_split, size=size)
    parts = _divided(rest, labels, other, seed)

    def make(number: int) -> nn.Module:
        if number == 0 and teacher is not None:
            return parse.model(teacher, None, None, parse.device("cpu"))
        name = model if number == 0 else student or model
        return parse.fitting(parse.untrained(name, found, seed + number), found)

    place = directory(out, "noisy-student", student or model)
    if launched().first:
        show.say(f"{len(parts[0])} images with labels, {len(parts[1])} without")
    _finished(_trained(make, parts, plan, held=held, place=place), place, json=json)


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

    try:
        with resumable(place), _watching() as progress:
            return self_train(make, *parts, plan, out=place, held=held, progress=progress)
    except DivergedError as error:
        show.say(str(error), "error")
        raise typer.Exit(DIVERGED) from error


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


def _finished(done: SelfTrained, place: Path, *, json: bool) -> None:
    """Writes the last student's weights and says what came of it."""
    from robustlab.core.processes import launched

    if not launched().first:
        return
    weights = training.kept(done.model, place)
    if json:
        show.machine({"model": str(weights), **_told(done)})
    else:
        _shown(done)
    show.say(f"Model: {weights}", "good")


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
    titles = {"accuracy": "accuracy", "validation_accuracy": "held out"}
    show.table(["training", "epochs", *(titles[name] for name in names), "seconds"], rows)
