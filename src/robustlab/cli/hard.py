"""robustlab hard: a model on unmodified photographs that models misclassify."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import images as i
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.commands import register_command
from robustlab.cli.fields import from_fields

if TYPE_CHECKING:
    from torch import Tensor

    from robustlab.core import Examples
    from robustlab.evaluation import NaturalAdversarial, NaturalOutliers, ProtocolResult

EXAMPLE = "robustlab hard efficientnet-lite0 --data imagenet-a:PATH"
_OUTLIERS, _HARD = "imagenet-o:", "imagenet-a:"


@dataclass(frozen=True)
class Photographs:
    """A trained model, and the photographs that it classifies."""

    model: o.Model
    architecture: o.Architecture = None
    classes: o.Classes = None
    data: o.Data = "photographs"
    split: o.Split = "test"
    known: Annotated[
        str | None,
        typer.Option(
            "--known",
            help="Images of classes that the model knows; --data are then outliers to detect among them. For "
            "imagenet-o:PATH give imagenet:PATH, of which the 200 classes of ImageNet-O are used.",
            rich_help_panel=o.INPUT,
        ),
    ] = None


@from_fields
def hard(
    photographs: Photographs,
    images: i.Images,
    limit: o.Limit = None,
    batch_size: o.BatchSize = o.BATCH_SIZE,
    seed: o.Seed = o.SEED,
    device: o.Device = o.DEVICE,
    json: o.Json = False,
) -> None:
    """Evaluates a model on hard photographs, such as ImageNet-A, or on outliers, such as ImageNet-O.

    Prints accuracy among the classes that the data has (of imagenet-a:PATH: the 200 of ImageNet-A) and among all
    classes, with RMS calibration error and AURRA; or, with --known, how well low confidence detects outliers.
    """
    from robustlab.data import of_classes, sample
    from robustlab.data.natural_sets import labels_of
    from robustlab.evaluation import Settings, natural_adversarial, natural_outliers

    model, data, known = photographs.model, photographs.data, photographs.known
    if known is None and data.startswith(_OUTLIERS):
        raise typer.BadParameter("images of ImageNet-O show no class of ImageNet: give --known imagenet:PATH as well")
    subject = parse.model(model, photographs.architecture, photographs.classes, parse.device(device), size=images.size)
    examples = parse.data(data, photographs.split, size=images, named_model=(model, subject))
    parse.fitting(subject, examples)
    settings = Settings(batch_size=batch_size, seed=seed, name=model)
    n = None if limit is None else min(limit, len(examples))
    if known is None:
        result = natural_adversarial(subject, examples, among=_among(data, examples), n=n, settings=settings)
        show.machine(result.to_json()) if json else _protocols(result)
        return
    inside = parse.data(known, photographs.split, size=images, named_model=(model, subject))
    outliers = natural_outliers(
        subject,
        examples if n is None else sample(examples, n, seed=seed),
        of_classes(inside, labels_of(examples).unique()) if data.startswith(_OUTLIERS) else inside,
        settings=settings,
    )
    show.machine(outliers.to_json()) if json else _outliers(outliers)


def _among(data: str, examples: Examples) -> Tensor | None:
    """The classes of the masked protocol: those that the data has; None: ImageNet-A's."""
    from robustlab.data.natural_sets import labels_of

    return None if data.startswith(_HARD) else labels_of(examples)


def _protocols(result: NaturalAdversarial) -> None:
    protocols = (result.masked, result.full)
    rows = zip(
        ("accuracy", "mean confidence", "AURRA", "RMS calibration error", "  expected by chance", "  as published"),
        *(_column(one) for one in protocols),
        strict=True,
    )
    title = f"{result.model} on {result.data}, {result.n} images"
    show.table(["protocol", *(one.protocol for one in protocols)], list(rows), title=title)
    if any(one.calibration.published is None for one in protocols):
        show.say("The published calibration error leaves out the last bin of 100: it needs 200 images.")


def _column(one: ProtocolResult) -> list[str]:
    from robustlab.report.words import percent

    measured = one.calibration
    return [
        show.fraction(one.accuracy),
        percent(one.mean_confidence),
        show.fraction(one.aurra),
        show.fraction(measured.corrected),
        percent(measured.chance),
        show.fraction(measured.published) if measured.published else "–",
    ]


def _outliers(result: NaturalOutliers) -> None:
    from robustlab.report.words import percent

    detection = result.detection
    rows = [
        ["average precision (AUPR)", show.fraction(detection.aupr)],
        ["base rate", percent(detection.base_rate)],
        [f"outliers: {result.unknown}", str(detection.unknown)],
        [f"known: {result.known}", str(detection.known)],
        ["classes that count", str(result.ways)],
    ]
    show.table([f"outliers detected by low confidence, {result.model}", ""], rows)


register_command("hard", hard, example=EXAMPLE)
