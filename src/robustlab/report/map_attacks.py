"""Attacked maps as pictures: image and map before and after, with the prediction unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from robustlab.evaluation.explanations.read import read_attacked
from robustlab.evaluation.explanations.record import Explanations
from robustlab.report.confusion import class_name
from robustlab.report.map_pictures import map_colours, uri_of
from robustlab.report.pictures import is_image_shape, png
from robustlab.report.words import number

MOST, PICTURE = 3, 160


@dataclass(frozen=True)
class Tile:
    """One picture with a few words."""

    uri: str
    alt: str
    words: str
    doubt: bool = False
    """True for a map that a check speaks against."""


@dataclass(frozen=True)
class AttackedMap:
    """One attacked image of one model."""

    series: int
    title: str
    words: str
    tiles: tuple[Tile, ...]


def attacked_maps(result: Explanations) -> tuple[AttackedMap, ...]:
    """The first shown images whose maps were attacked, for each model."""
    if result.attack is None or result.directory is None or not is_image_shape(result.data.shape):
        return ()
    return tuple(one for model in range(len(result.models)) for one in _of_model(result, model))


def _of_model(result: Explanations, model: int) -> Iterator[AttackedMap]:
    found = read_attacked(result, model=model)
    shown = {item.id for item in result.pictures}
    rows = [row for row, number in enumerate(found["ids"].tolist()) if number in shown][:MOST]
    for row in rows:
        yield _attacked(result, model, {name: rows[row] for name, rows in found.items() if rows.ndim})


def _attacked(result: Explanations, model: int, one: Mapping[str, Tensor]) -> AttackedMap:
    name, number_of = result.models[model].name, int(one["ids"])
    tiles = []
    for image, values, when in (("x", "before", "before"), ("x_adv", "after", "after")):
        pixels = one[values].sum(0) if one[values].ndim == 3 else one[values]
        about = f"{number_of} {when} the attack on maps of {name}"
        tiles.append(Tile(png(one[image], most=PICTURE), f"image {about}", f"image {when}"))
        tiles.append(
            Tile(uri_of(map_colours(pixels, one[image]), most=PICTURE), f"map of image {about}", f"map {when}")
        )
    change = f"{float(one['change']):+.3f}".replace("-", "\N{MINUS SIGN}")
    cosine = number(float(one["value of cosine-under-attack"]))
    words = f"prediction unchanged, confidence {change}; cosine distance of the maps {cosine}"
    label = class_name(result, int(one["target"]))
    return AttackedMap(model, f"{name}, image {number_of}: {label}", words, tuple(tiles))
