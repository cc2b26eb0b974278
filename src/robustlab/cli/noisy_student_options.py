"""Options of ``robustlab noisy-student`` that no other command has, by subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import typer

from robustlab.cli import options as o
from robustlab.cli import train_options as t
from robustlab.cli.defaults import default_of

_PLAN = "training/self_training.py", "SelfTraining"
STUDENT, LABELS, STAGES = "Student", "Pseudo-labels", "Stages"


class Lengths(NamedTuple):
    """Defaults of options."""

    rounds: int
    teacher: int
    """Epochs of the first teacher."""
    student: int
    """Epochs of each student."""
    images: int | None
    """Images that are used, and unlabelled ones if they are a data set of their own; None: all."""
    batch: int | None
    """Few images need small batches for enough updates; None: the usual ones."""


USUAL, QUICK = Lengths(default_of(*_PLAN, "rounds"), 5, 5, None, None), Lengths(1, 10, 10, 2500, 32)


@dataclass(frozen=True)
class Images:
    """Images with labels, and those that are used without."""

    model: Annotated[
        str,
        typer.Argument(
            help="Name of the network (batchnorm-cnn, timm:efficientnet_b0,stride=1,dropout=0.2,drop_path=0.2), or "
            "package.module:function: for the teacher, and for the students unless --student is given.",
        ),
    ] = "batchnorm-cnn"
    data: o.Data = "fashion-mnist"
    split: o.Split = "train"
    limit: o.Limit = None
    labels: Annotated[
        int | None,
        typer.Option(
            "--labels",
            min=1,
            help="Number of examples that keep their label; the others are used without.",
            rich_help_panel=o.INPUT,
        ),
    ] = None
    unlabelled: Annotated[
        str | None,
        typer.Option(
            "--unlabelled",
            help="Name of a data set, or a folder of folders of images, that is used without labels; instead of "
            "--labels. If it contains the labelled images, a warning is printed.",
            rich_help_panel=o.INPUT,
        ),
    ] = None
    unlabelled_split: Annotated[
        str | None,
        typer.Option(
            "--unlabelled-split",
            help="Split of --unlabelled; default train, or all where it is not divided; all includes test images.",
            rich_help_panel=o.INPUT,
        ),
    ] = None


@dataclass(frozen=True)
class Stages:
    """Teacher, students and fine-tuning, and the lengths of their trainings."""

    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            help="A trained teacher: a checkpoint (NAME=CHECKPOINT if it does not name its architecture), a training "
            "run, "
            "or package.module:function. Default: a new one, trained on the labels.",
            rich_help_panel=STAGES,
        ),
    ] = None
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A first result: 2,500 images, of which a fifth keep their label, one student, 10 epochs each, "
            "batches "
            "of 32.",
            rich_help_panel=STAGES,
        ),
    ] = False
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds",
            min=1,
            help=f"Number of students; each is the teacher of the next; default {USUAL.rounds}.",
            rich_help_panel=STAGES,
        ),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=1,
            help=f"Passes of the first teacher over the labelled images; default {USUAL.teacher}.",
            rich_help_panel=STAGES,
        ),
    ] = None
    student_epochs: Annotated[
        int | None,
        typer.Option(
            "--student-epochs",
            min=1,
            help="Passes of each student over the labelled images; default as --epochs.",
            rich_help_panel=STAGES,
        ),
    ] = None
    tune_epochs: Annotated[
        int,
        typer.Option(
            "--tune-epochs",
            min=0,
            help="Epochs of fine-tuning of the last student on labelled images, without noise, at a tenth of the "
            "rate; 0: none.",
            rich_help_panel=STAGES,
        ),
    ] = 1
    tune_size: Annotated[
        int | None,
        typer.Option(
            "--tune-size",
            min=1,
            help="Side in pixels at which the last student sees the images during fine-tuning and afterwards; "
            "it resizes them itself. Default: unchanged.",
            rich_help_panel=STAGES,
        ),
    ] = None
    hold_out: Annotated[
        int | None,
        typer.Option(
            "--hold-out",
            min=1,
            help="Number of labelled images that are held out; of each training the epoch with the best accuracy on "
            "them is kept.",
            rich_help_panel=STAGES,
        ),
    ] = None
    batch_size: t.BatchSize = None
    precision: t.Precision = None


@dataclass(frozen=True)
class Student:
    """Networks of the students, and the noise that they are trained with."""

    student: Annotated[
        str | None,
        typer.Option(
            "--student", help="Name of the students' network, of equal size or larger.", rich_help_panel=STUDENT
        ),
    ] = None
    magnitude: Annotated[
        int,
        typer.Option(
            "--magnitude",
            min=0,
            max=30,
            help="Magnitude of the two operations of RandAugment, 0..30.",
            rich_help_panel=STUDENT,
        ),
    ] = 9
    no_noise: Annotated[
        bool, typer.Option("--no-noise", help="Train students on unchanged images.", rich_help_panel=STUDENT)
    ] = False
    average: Annotated[
        float,
        typer.Option(
            "--average", help="Decay of the moving average of a student's weights; 0: none.", rich_help_panel=STUDENT
        ),
    ] = 0.999


@dataclass(frozen=True)
class Labels:
    """Pseudo-labels: their number, threshold and kind."""

    ratio: Annotated[
        int,
        typer.Option(
            "--ratio",
            help="Pseudo-labelled images for each labelled one, in addition to the batch.",
            rich_help_panel=LABELS,
        ),
    ] = 4
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            help="Images on which the teacher's confidence is not above this value are left out.",
            rich_help_panel=LABELS,
        ),
    ] = default_of(*_PLAN, "threshold")
    per_class: Annotated[
        str,
        typer.Option(
            "--per-class",
            help="Images of each class: a number, mean (the mean over classes), or all. The most confident are kept; "
            "classes with fewer repeat theirs.",
            rich_help_panel=LABELS,
        ),
    ] = default_of(*_PLAN, "per_class")
    hard: Annotated[
        bool,
        typer.Option("--hard", help="Learn the most probable class, not the probabilities.", rich_help_panel=LABELS),
    ] = False
