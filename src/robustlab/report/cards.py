"""The same few images under every corruption, with the prediction of each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robustlab.evaluation.corruptions.compare import same_images
from robustlab.evaluation.corruptions.gallery import corruption_pictures
from robustlab.evaluation.corruptions.record import CorruptionEvaluation, CorruptionPicture
from robustlab.report.confusion import class_name
from robustlab.report.heat import spoken
from robustlab.report.pictures import is_image_shape, png
from robustlab.report.words import percent

PICTURE = 112
"""Longer sides are thinned out: there are many pictures."""


@dataclass(frozen=True)
class Shot:
    """One picture with the prediction of each model."""

    uri: str
    alt: str
    predictions: tuple[tuple[str, str, bool], ...]
    """Class, probability, and whether that is right, by model."""


@dataclass(frozen=True)
class Card:
    """One corruption in pictures."""

    name: str
    note: str
    shots: tuple[Shot, ...]


def cards(evaluations: Sequence[CorruptionEvaluation]) -> list[Card]:
    """The same images under each corruption, with the predictions of every model that was evaluated on them."""
    first = evaluations[0]
    if first.directory is None or not first.gallery or not is_image_shape(first.data.shape):
        return []
    alike = [e for e in evaluations if same_images(first, e)]
    x = corruption_pictures(first, first.gallery)
    answers = [{(item.corruption, item.severity, item.id): item for item in e.gallery} for e in alike]
    notes = {info.name: info.not_comparable for info in first.corruptions}
    cards = []
    for name in dict.fromkeys(item.corruption for item in first.gallery):
        shots = []
        for item, image in zip(first.gallery, x, strict=True):
            if item.corruption == name:
                key = (item.corruption, item.severity, item.id)
                predictions = [one[key] for one in answers if key in one]
                shots.append(_shot(first, item, png(image, most=PICTURE), predictions))
        cards.append(Card(spoken(name) if name else "Clean", notes.get(name, ""), tuple(shots)))
    return cards


def _shot(e: CorruptionEvaluation, item: CorruptionPicture, uri: str, predictions: Sequence[CorruptionPicture]) -> Shot:
    alt = f"image {item.id}, {class_name(e, item.label)}" + (f", under {item.corruption}" if item.corruption else "")
    words = tuple(
        (class_name(e, one.prediction), percent(one.confidence, 0), one.prediction == one.label) for one in predictions
    )
    return Shot(uri, alt, words)
