"""robustlab noisy-student: training on images without labels, which a teacher labels."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robustlab.cli import images as i
from robustlab.cli import noisy_student_options as n
from robustlab.cli import options as o
from robustlab.cli import parse, show, training
from robustlab.cli import train_options as t
from robustlab.cli.codes import Code
from robustlab.cli.commands import register_command
from robustlab.cli.fields import flagged, from_fields
from robustlab.cli.run import directory, resumable

if TYPE_CHECKING:
    from torch import nn

    from robustlab.core import Examples
    from robustlab.runs.progress import Report
    from robustlab.training import History, SelfTrained, SelfTraining, Settings
    from robustlab.training.pseudo_labels import PerClass
    from robustlab.training.self_training import Enlarge, Make

EXAMPLE = "robustlab noisy-student batchnorm-cnn --data fashion-mnist --labels 2000 --ratio 4 --out runs/student"


_LABELLED = 5  # one image in so many keeps its label in a first look


@from_fields
def noisy_student(
    images: n.Images,
    framing: i.Images,
    stages: n.Stages,
    student: n.Student,
    pseudo: n.Labels,
    rule: t.Rule,
    run: o.Run,
) -> None:
    """Noisy Student: a teacher labels images, a student learns from them with noise and becomes the next teacher.

    The teacher sees the unchanged images; the student is trained on labelled and pseudo-labelled images together,
    changed by RandAugment, with the dropout and stochastic depth of its network. Labels of the unlabelled images are
    never read, even if they exist. Ctrl-C keeps what is finished; the same command with --out DIRECTORY resumes in the
    same stage. The last student is in model.safetensors, which robustlab evaluate reads.
    """
    from robustlab.core.architecture import framed_like
    from robustlab.core.processes import launched

    usual = n.QUICK if stages.quick else n.USUAL
    plan = _plan(stages, student, pseudo, rule, run)
    data, split = images.data, images.split
    found = parse.data(data, split, size=framing, limit=images.limit or usual.images, seed=run.seed)
    held, rest = (
        (None, found) if stages.hold_out is None else parse.apart("--hold-out", stages.hold_out, found, run.seed)
    )
    parts = _divided(rest, (images, framing), usual.images, run.seed, quick=stages.quick)

    def make(number: int) -> nn.Module:
        if number == 0 and stages.teacher is not None:
            return parse.model(stages.teacher, None, None, parse.device("cpu"))
        name = images.model if number == 0 else student.student or images.model
        return framed_like(parse.fitting(parse.untrained(name, found, run.seed + number), found), framing.words)

    place = directory(run.out, "noisy-student", student.student or images.model)
    if launched().first:
        precision = _precision(plan.student, place)
        show.say(f"Run: {place}; {len(parts[0])} images with labels, {len(parts[1])} without{precision}")
    done = _trained(make, parts, plan, held=held, place=place)
    _finished(done, place, ["--data", data, *framing.typed], json=run.json)


def _plan(stages: n.Stages, student: n.Student, pseudo: n.Labels, rule: t.Rule, run: o.Run) -> SelfTraining:
    """All stages as typed."""
    from robustlab.training import RandAugment, SelfTraining

    usual = n.QUICK if stages.quick else n.USUAL
    best, place = "accuracy" if stages.hold_out else None, parse.device(run.device).type

    def settings(epochs: int, rule: t.Rule = rule) -> Settings:
        length = t.Length(epochs, stages.batch_size or usual.batch, precision=stages.precision)
        return training.settings(length, rule, training.PLAIN, seed=run.seed, device=place, best=best)

    student_settings = settings(stages.student_epochs or stages.epochs or usual.student)
    with flagged({name: f"--{name}" for name in ("average", "ratio", "threshold")}):
        return SelfTraining(
            replace(student_settings, average=student.average or None),
            settings(stages.epochs or usual.teacher) if stages.teacher is None else None,
            settings(stages.tune_epochs, _gentle(rule)) if stages.tune_epochs else None,
            rounds=stages.rounds or usual.rounds,
            ratio=pseudo.ratio,
            noise=None if student.no_noise else RandAugment(magnitude=student.magnitude),
            threshold=pseudo.threshold,
            per_class=_per_class(pseudo.per_class),
            soft=not pseudo.hard,
            enlarge=_enlarged(stages.tune_size, stages.tune_epochs),
        )


def _precision(settings: Settings, place: Path) -> str:
    """The precision of students, and of the teacher if it is trained here."""
    return "; precision: " + training.taken(settings, place / "teacher", place / "round-1" / "student")


def _enlarged(side: int | None, epochs: int) -> Enlarge | None:
    """A function that fits the last student to images of another size."""
    from robustlab.models import at_size

    if side is None:
        return None
    if not epochs:
        raise typer.BadParameter("--tune-size is for the fine-tuning at the end, which --tune-epochs 0 leaves out")
    return partial(at_size, side=side)


def _gentle(rule: t.Rule) -> t.Rule:
    """The rule of the updates, at a tenth of its rate."""
    usual = t.ADAMW_RATE if (rule.optimizer or "sgd").startswith("adam") else t.SGD_RATE
    return replace(rule, learning_rate=(usual if rule.learning_rate is None else rule.learning_rate) / 10)


def _per_class(typed: str) -> PerClass:
    if typed in ("mean", "all"):
        return "mean" if typed == "mean" else None
    if not typed.isdecimal() or not int(typed):
        raise typer.BadParameter(f"--per-class is a number of images, mean or all, got {typed!r}")
    return int(typed)


def _pool(images: n.Images, framing: i.Images, limit: int | None) -> Examples | None:
    """Data of their own without labels, if there are any; warns if they are of the data that have labels."""
    from robustlab.core.processes import launched

    name = images.unlabelled
    if name is None:
        return None
    pool = (name, images.unlabelled_split or parse.learned_part(name))
    if parse.overlapping((images.data, images.split), pool) and launched().first:
        show.say(
            f"--unlabelled {name} contains the labelled images: they, and the images of --hold-out, are also used "
            "without labels; give --labels N instead to use only the others",
            "warning",
        )
    return parse.data(*pool, size=replace(framing, classes_from=None), limit=limit)


def _divided(
    examples: Examples, typed: tuple[n.Images, i.Images], limit: int | None, seed: int, *, quick: bool
) -> tuple[Examples, Examples]:
    """Labelled and unlabelled examples; at most ``limit`` from a data set of their own."""
    other, labels = _pool(*typed, limit), typed[0].labels
    if other is not None:
        if labels is not None:
            raise typer.BadParameter(
                "--labels uses the rest of --data without labels: leave out --unlabelled or --labels"
            )
        return examples, other
    labels = labels or (len(examples) // _LABELLED if quick else None)
    if labels is None:
        raise typer.BadParameter(
            "there are no unlabelled data: name them with --unlabelled, or set with --labels how many of these "
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
    """Runs all stages; exits with a code of its own if training diverges."""
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
    """Remedies for a teacher that is sure of no image; a student that is there already keeps its threshold."""
    student = (place / "round-1" / "student").exists()
    going_on = "" if student else f", which resumes with --out {place}"
    better = "give a better --teacher" if plan.teacher is None else "train longer with more --epochs"
    return f"lower --threshold (0 takes all{going_on}), or {better}"


@contextmanager
def _watching() -> Iterator[Report]:
    """A bar for each stage."""
    with show.bars() as bar:
        yield lambda at: bar(at._replace(task=at.task.replace("/", ", ")))


def _finished(done: SelfTrained, place: Path, data: Sequence[str], *, json: bool) -> None:
    """Writes the last student's weights, and prints the results and the command that evaluates it."""
    from robustlab.core.processes import launched

    if not launched().first:
        return
    weights = training.kept(done.model, place)
    if json:
        show.machine({"model": str(weights), **_record(done)})
    else:
        _print(done)
    show.say(f"Model: {weights}", "good")
    show.say(f"On test images: {shlex.join(['robustlab', 'evaluate', str(place), *data])}")


def _stages(done: SelfTrained) -> dict[str, History]:
    """The trainings by name."""
    rounds = {f"student {number}": one.student for number, one in enumerate(done.rounds, start=1)}
    stages = {"teacher": done.teacher, **rounds, "fine-tuned": done.tuning}
    return {name: history for name, history in stages.items() if history is not None}


def _record(done: SelfTrained) -> dict[str, object]:
    trained = {name: {"best": h.best, "epochs": h.epochs} for name, h in _stages(done).items()}
    return {"stages": trained, "pseudo_labels": [one.pseudo.summary() for one in done.rounds], "seconds": done.seconds}


def _print(done: SelfTrained) -> None:
    """Prints the pseudo-labels of each round, and the last epoch of each training."""
    for number, one in enumerate(done.rounds, start=1):
        pseudo = one.pseudo.summary()
        show.say(
            f"Round {number}: the teacher is confident enough on {pseudo['confident']} of {pseudo['examples']} images; "
            f"the student learned from {pseudo['chosen']}, {pseudo['different']} of them distinct"
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


register_command("noisy-student", noisy_student, example=EXAMPLE)
