"""Unmodified photographs that models get wrong: ImageNet-A and similar sets, and ImageNet-O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustlab.core import Examples, Model, frozen
from robustlab.core.kinds import typed
from robustlab.core.modes import seed_generators
from robustlab.core.user_code import model_called
from robustlab.data import imagenet_a_classes
from robustlab.data.natural_sets import labels_of
from robustlab.data.wrapped import Given
from robustlab.evaluation.given import for_model
from robustlab.evaluation.input_checks import label_faults, refuse, refuse_unstable
from robustlab.evaluation.plan import Settings, batches, drawn
from robustlab.evaluation.subject import UNDEFINED, Subject, answers_of, without_search
from robustlab.runs.codec import encode
from robustlab.statistics.calibration import Calibration, aurra, calibration
from robustlab.statistics.estimate import Estimate, Real
from robustlab.statistics.intervals import Interval, clopper_pearson
from robustlab.statistics.ranking import Detection, detection


@dataclass(frozen=True)
class ProtocolResult:
    """Accuracy and calibration of a model on some of its classes."""

    protocol: str
    """Name of the protocol: "200-way, masked" or "1000-way"."""
    ways: int
    """Number of classes to choose from."""
    accuracy: Interval
    mean_confidence: float
    calibration: Calibration
    aurra: Estimate


@dataclass(frozen=True)
class NaturalAdversarial:
    """A model on hard photographs, in both usual protocols; they give different numbers."""

    model: str
    data: str
    n: int
    drawn: str
    """One phrase on how the n were drawn."""
    nonfinite: int
    """Images with a NaN or infinite logit; they count as wrong, with confidence 0."""
    masked: ProtocolResult
    """Among the benchmark's classes alone, as in its published results: the logits of all others are left out."""
    full: ProtocolResult
    """Among all classes of the model; never more accurate."""

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and finite numbers; NaN becomes None."""
        return encode(self)


@dataclass(frozen=True)
class NaturalOutliers:
    """Detection by low confidence of photographs that belong to no class of the model."""

    model: str
    unknown: str
    """Name of the data set of outliers."""
    known: str
    detection: Detection
    """Detection by minus the largest probability among the classes that count."""
    ways: int
    """Number of classes that count."""

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and finite numbers; NaN becomes None."""
        return encode(self)


@typed
def natural_adversarial(
    model: Model,
    data: Given,
    *,
    among: Tensor | Sequence[int] | None = None,
    n: int | None = None,
    settings: Settings | None = None,
) -> NaturalAdversarial:
    """Accuracy, RMS calibration error and AURRA on hard photographs such as ImageNet-A, in both protocols.

    Args:
        model: from images (N, C, H, W) in [0, 1] to logits (N, K); called in eval mode; its mode is restored.
        data: labelled images whose labels are the model's class numbers: ``load("imagenet-a:PATH")``, or what
            ``robustlab.data.examples`` makes some of.
        among: class numbers of the masked protocol; None: the 200 of ImageNet-A.
        n: size of a simple random sample to be evaluated; None: all examples.
        settings: batch size, seed, device and level.

    Raises: ValueError if the classes of data and model differ, a label is not among the classes of the masked
        protocol, or for inputs or outputs that make every number meaningless.

    Source: Hendrycks, Zhao, Basart, Steinhardt, Song, Natural Adversarial Examples, CVPR 2021.
    """
    settings, examples = settings or Settings(), for_model(model, data)
    ids, how = drawn(len(examples), n, settings.seed)
    classes = _numbers(among)
    refuse_unstable(examples, ids)
    answers = _answered(model, examples, ids, classes, settings)
    right = [(found == answers.label).numpy() for found in (answers.masked, answers.prediction)]
    ways = len(classes), len(examples.classes)
    return NaturalAdversarial(
        model=_named(model, settings),
        data=examples.name,
        n=len(ids),
        drawn=how,
        nonfinite=int(answers.nonfinite.sum()),
        masked=_result(f"{ways[0]}-way, masked", ways[0], right[0], answers.masked_confidence.numpy(), settings),
        full=_result(f"{ways[1]}-way", ways[1], right[1], answers.confidence.numpy(), settings),
    )


@typed
def natural_outliers(
    model: Model,
    unknown: Given,
    known: Given,
    *,
    among: Tensor | Sequence[int] | None = None,
    settings: Settings | None = None,
) -> NaturalOutliers:
    """Average precision of low confidence on ImageNet-O and its like, with its base rate.

    Args:
        model: from images (N, C, H, W) in [0, 1] to logits (N, K); called in eval mode; its mode is restored.
        unknown: images of no class of the model, such as ``load("imagenet-o:PATH")``; their labels are not used.
        known: images of the classes that count: for ImageNet-O the validation images of its 200 classes,
            ``of_classes(load("imagenet:PATH"), unknown.y.unique())``.
        among: class numbers that confidence is measured among; None: those that occur among the labels of ``known``.
        settings: batch size, seed, device and level.

    Raises: ValueError if the classes of data and model differ, or for inputs or outputs that cannot be evaluated.

    Source: Hendrycks, Zhao, Basart, Steinhardt, Song, Natural Adversarial Examples, CVPR 2021.
    """
    settings, outside, inside = settings or Settings(), for_model(model, unknown), for_model(model, known)
    for one in (outside, inside):
        refuse_unstable(one, torch.arange(len(one)))
    classes = _numbers(labels_of(inside) if among is None else among)
    answers = [
        _answered(model, one, torch.arange(len(one)), classes, settings, labelled=one is inside)
        for one in (outside, inside)
    ]
    scores = [-one.masked_confidence.numpy() for one in answers]
    return NaturalOutliers(
        model=_named(model, settings),
        unknown=outside.name,
        known=inside.name,
        detection=detection(scores[0], scores[1], seed=settings.seed, level=settings.level),
        ways=len(classes),
    )


class _Answers(NamedTuple):
    """Answers of a model to examples, all (N,)."""

    label: Tensor
    prediction: Tensor
    """Among all classes; -1 where logits were not finite."""
    confidence: Tensor
    """0 where logits were not finite."""
    masked: Tensor
    """The prediction among the classes of the masked protocol, and its confidence."""
    masked_confidence: Tensor
    nonfinite: Tensor


def _answered(
    model: Model, examples: Examples, ids: Tensor, classes: Tensor, settings: Settings, *, labelled: bool = True
) -> _Answers:
    """Evaluates a model on examples, in both protocols; ``labelled``: the labels are classes of the model."""
    with frozen(model, training=False), model_called():
        one = without_search(model, examples, device=settings.device)
        seed_generators(settings.seed)  # for a model that draws
        parts = [_batch(one, some, classes, labelled=labelled) for some in batches(ids, settings.batch_size)]
    return _Answers(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _batch(one: Subject, ids: Tensor, classes: Tensor, *, labelled: bool) -> _Answers:
    batch = one.load(ids)
    logits = one.logits(batch.x).cpu()
    _check_classes(classes, logits.shape[1])
    if labelled:
        _check_labels(one.examples, batch.y.cpu(), classes, logits.shape[1])
    full, masked = answers_of(logits), answers_of(logits[:, classes])
    nonfinite = full.undefined | masked.undefined
    predictions = (full.prediction, classes[masked.prediction.clamp(min=0)])
    prediction, chosen = (found.masked_fill(nonfinite, UNDEFINED) for found in predictions)
    confidence, sure = (found.confidence.masked_fill(nonfinite, 0.0) for found in (full, masked))
    return _Answers(batch.y.cpu(), prediction, confidence, chosen, sure, nonfinite)


def _check_classes(classes: Tensor, ways: int) -> None:
    if int(classes.max()) >= ways or int(classes.min()) < 0:
        raise ValueError(
            f"the masked protocol is among classes {int(classes.min())} to {int(classes.max())}, the model has 0.."
            f"{ways - 1}: give class numbers of the model with among= (without, it is the 200 of ImageNet-A)"
        )


def _check_labels(examples: Examples, y: Tensor, classes: Tensor, ways: int) -> None:
    if len(examples.classes) != ways:
        raise ValueError(
            f"{examples.name} has {len(examples.classes)} classes and the model {ways}: give images whose labels are "
            "the model's class numbers, for ImageNet folders named by synset such as n02123045"
        )
    refuse(label_faults(y, ways))
    absent = y[~torch.isin(y, classes)]
    if len(absent):
        raise ValueError(
            f"{examples.name} has images of class {int(absent[0])}, which is none of the {len(classes)} classes to "
            "choose from: give the class numbers of your data with among="
        )


def _named(model: Model, settings: Settings) -> str:
    return settings.name or getattr(model, "__name__", type(model).__name__)


def _numbers(among: Tensor | Sequence[int] | None) -> Tensor:
    """Class numbers, ascending and each once."""
    classes = imagenet_a_classes() if among is None else torch.as_tensor(among).long().unique()
    if len(classes) < 2:
        raise ValueError(f"at least two classes are needed, got {classes.tolist()}")
    return classes


def _result(
    protocol: str, ways: int, correct: NDArray[np.bool_], confidence: Real, settings: Settings
) -> ProtocolResult:
    return ProtocolResult(
        protocol=protocol,
        ways=ways,
        accuracy=clopper_pearson(int(correct.sum()), correct.size, settings.level),
        mean_confidence=float(confidence.mean()),
        calibration=calibration(confidence, correct, seed=settings.seed, level=settings.level),
        aurra=aurra(confidence, correct, seed=settings.seed, level=settings.level),
    )
