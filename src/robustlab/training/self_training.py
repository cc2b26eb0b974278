"""Self-training in rounds: a teacher, its pseudo-labels, a student that is the next teacher, fine-tuning at the end.

Each stage has its own folder and can be resumed: ``teacher``, ``round-1/pseudo-labels``, ``round-1/student``,
``round-2/...``, ``tuned``.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import nn

from robustlab.core import Examples, Recipe, RunError
from robustlab.core.kinds import typed
from robustlab.core.processes import launched as processes
from robustlab.data.unlabelled import WithoutLabels
from robustlab.runs.files import write_atomically
from robustlab.runs.progress import Report
from robustlab.training.checkpoint import latest
from robustlab.training.held_out import HeldOut
from robustlab.training.loop import fit
from robustlab.training.pseudo_labels import PerClass, PseudoLabelled, check_choice, check_classes, pseudo_labels
from robustlab.training.recipes.cross_entropy import standard
from robustlab.training.recipes.noisy_student import NOISE, Noise, check_ratio, noisy_student, unnoised
from robustlab.training.settings import History, Settings
from robustlab.training.stream import fetched

Make: TypeAlias = Callable[[int], nn.Module]
"""Makes the network of a generation, the same each time: 0 is the teacher, 1, 2, ... are the students."""
Enlarge: TypeAlias = Callable[[nn.Module], nn.Module]
"""From a network to one with the same weights that sees its images larger: ``partial(models.at_size, side=42)``."""
CHOSEN = "chosen.json"


@typed
@dataclass(frozen=True)
class SelfTraining:
    """Settings of self-training: teacher, students, pseudo-labels, fine-tuning.

    Args:
        student: of each student. ``batch_size`` counts labelled examples, pseudo-labelled ones come on top; with
            ``average`` the average of the weights is the next teacher.
        teacher: of the first teacher; None: it is trained already.
        tuning: of the last student at the end, on labelled examples without any noise; None: no such stage.
        rounds: students, each of which is the teacher of the next.
        ratio: pseudo-labelled examples with each labelled one, >= 0.
        noise: changes the images that students see; None: leaves them.
        threshold: an example is kept if the teacher's highest probability is above.
        per_class: pseudo-labelled examples of each class; "mean": the mean over the classes; None: all.
        soft: students learn probabilities; False: the most probable class.
        teaching: recipe of the first teacher.
        learning: recipe of the students on a mixed batch, with hard labels; None: the mean cross-entropy.
        enlarge: changes the last student before it is fine-tuned, such as to larger images, as in the paper; None: no
            change.

    Raises: ValueError for values that no run can have.
    """

    student: Settings
    teacher: Settings | None = None
    tuning: Settings | None = None
    rounds: int = 3
    ratio: int = 1
    noise: Noise | None = NOISE
    threshold: float = 0.3
    per_class: PerClass = "mean"
    soft: bool = True
    teaching: Recipe = field(default_factory=standard)
    learning: Recipe | None = None
    enlarge: Enlarge | None = None

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_choice(self.threshold, self.per_class)
        if self.rounds < 1:
            raise ValueError(f"rounds counts students, at least 1, got {self.rounds}")
        if self.learning is not None and self.soft:
            raise ValueError(f"{self.learning!r} learns classes, not probabilities: set soft=False")
        if self.enlarge is not None and self.tuning is None:
            raise ValueError("enlarge is for the fine-tuning at the end: give settings for it, tuning=")


class Round(NamedTuple):
    """A student and its training data."""

    pseudo: PseudoLabelled
    student: History


@dataclass(frozen=True)
class SelfTrained:
    """Result of self-training.

    Args:
        model: the last student, fine-tuned if there is such a stage, in eval mode.
        teacher: history of the first teacher; None: it was trained already.
        rounds: the first to the last student.
        tuning: history of the fine-tuning.
        seconds: duration of each stage in this session, by its name.
    """

    model: nn.Module
    teacher: History | None
    rounds: tuple[Round, ...]
    tuning: History | None
    seconds: dict[str, float]


@typed
def self_train(
    make: Make,
    labelled: Examples,
    unlabelled: Examples,
    plan: SelfTraining,
    *,
    out: str | Path,
    held: Examples | None = None,
    progress: Report | None = None,
) -> SelfTrained:
    """Trains a teacher on labelled examples, and students on these and on pseudo-labels of unlabelled ones.

    The teacher labels without noise; the student, equal or larger, learns with noise, and is the next teacher. Every
    training is a run of ``fit``. With ``resume`` in the settings, a run that was killed anywhere continues, and ends
    with the same bits.

    Args:
        make: makes the networks; the first is trained already if the plan has no settings for it.
        labelled: that teacher and students are trained on.
        unlabelled: other inputs of the same shape; their labels are never read.
        plan: settings of all stages.
        out: directory of the run.
        held: examples that were kept apart, on which each epoch of each training is measured, see ``HeldOut``.
        progress: called after each step of each stage, whose name is its ``task``.

    Raises: as ``fit`` and ``pseudo_labels``; ValueError for no unlabelled data, data that do not fit each other, or a
        student that cannot be enlarged; RunError if the directory holds a student that was fine-tuned after another
        number of rounds.

    Source: Xie et al., Self-training with Noisy Student improves ImageNet classification, CVPR 2020, algorithm 1.
    """
    _check_data(labelled, unlabelled)
    _check_networks(make, labelled, plan)
    _check_rounds(Path(out), plan.rounds)
    run = _Run(make, labelled, WithoutLabels(unlabelled), plan, Path(out), held, progress, {})
    teacher, history, rounds = make(0), None, list[Round]()
    if plan.teacher is not None:
        history = run.fitted(teacher, plan.teaching, plan.teacher, "teacher")
    for number in range(1, plan.rounds + 1):
        teacher, one = run.round(teacher, number)
        rounds.append(one)
    tuning = None
    if plan.tuning is not None:
        teacher = teacher if plan.enlarge is None else plan.enlarge(teacher)
        tuning = run.fitted(teacher, unnoised(standard()), plan.tuning, "tuned")
    return SelfTrained(teacher, history, tuple(rounds), tuning, run.seconds)


@dataclass(frozen=True)
class _Run:
    """The stages of one run."""

    make: Make
    labelled: Examples
    unlabelled: WithoutLabels
    plan: SelfTraining
    place: Path
    held: Examples | None
    progress: Report | None
    seconds: dict[str, float]

    def report(self, stage: str) -> Report | None:
        """Passes on the progress of a stage, under its name."""
        progress = self.progress if processes().first else None
        return None if progress is None else lambda at: progress(at._replace(task=stage))

    def fitted(self, model: nn.Module, recipe: Recipe, settings: Settings, stage: str) -> History:
        """Trains a model in a folder of its own."""
        started = time.perf_counter()
        watch = None if self.held is None else HeldOut(self.held)
        out = self.place / stage
        history = fit(model, recipe, self.labelled, settings, out=out, validate=watch, progress=self.report(stage))
        self.seconds[stage] = time.perf_counter() - started
        return history

    def round(self, teacher: nn.Module, number: int) -> tuple[nn.Module, Round]:
        """Trains a student of a teacher."""
        plan, name = self.plan, f"round-{number}"
        student, pseudo = self.make(number), self.labels(teacher, name)
        recipe = noisy_student(pseudo, ratio=plan.ratio, noise=plan.noise, recipe=plan.learning)
        history = self.fitted(student, recipe, plan.student, f"{name}/student")
        if processes().first:  # after training: a refused command changes nothing of a finished run
            write_atomically(self.place / name / "pseudo-labels" / CHOSEN, json.dumps(pseudo.summary(), indent=1))
        return student, Round(pseudo, history)

    def labels(self, teacher: nn.Module, name: str) -> PseudoLabelled:
        """Pseudo-labels of the teacher, and the choice that the student learns from."""
        started, plan, stage = time.perf_counter(), self.plan, f"{name}/pseudo-labels"
        classes, folder = self.labelled.classes, self.place / stage
        found = pseudo_labels(teacher, self.unlabelled, classes, folder, plan.student, progress=self.report(stage))
        chosen = found.chosen(
            threshold=plan.threshold, per_class=plan.per_class, soft=plan.soft, seed=plan.student.seed
        )
        self.seconds[stage] = time.perf_counter() - started
        return chosen


def _check_data(labelled: Examples, unlabelled: Examples) -> None:
    """Checks that there are unlabelled examples, and that all have one shape."""
    if not len(unlabelled):
        raise ValueError(
            f"{unlabelled.name} has no examples: Noisy Student learns from unlabelled ones, without them train plainly"
        )
    shapes = [tuple(fetched(one, torch.tensor([0]), 0).x.shape[1:]) for one in (labelled, WithoutLabels(unlabelled))]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{unlabelled.name} has inputs {shapes[1]}, those with labels are {shapes[0]}: bring them to one shape"
        )


def _check_rounds(place: Path, rounds: int) -> None:
    """Refuses a directory whose student was fine-tuned after another number of rounds."""
    found = sum(latest(folder) is not None for folder in place.glob("round-*/student"))
    if latest(place / "tuned") is not None and found != rounds:
        raise RunError(
            f"{place} belongs to another run: its student was fine-tuned after round {found}, not {rounds}. Choose "
            "another directory"
        )


def _check_networks(make: Make, labelled: Examples, plan: SelfTraining) -> None:
    """Checks all networks before the first is trained."""
    before = 0
    for number in range(plan.rounds + 1):
        who = f"the student of round {number}" if number else "the teacher"
        model = make(number)
        check_classes(model, who, labelled, labelled.classes)
        size = sum(p.numel() for p in model.parameters())
        if size < before:
            warnings.warn(
                f"{who} has {size:,} parameters, its teacher {before:,}: Noisy Student needs a student that is equal "
                "or larger",
                stacklevel=3,
            )
        before = size
    if plan.enlarge is not None:
        check_classes(plan.enlarge(model), "the student that is fine-tuned", labelled, labelled.classes)
