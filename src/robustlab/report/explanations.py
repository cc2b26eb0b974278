"""Content of the page on explanations: recorded results arranged for reading, nothing computed anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from robustlab.core.finding import Finding
from robustlab.evaluation.explanations.read import explained_pictures, read_maps
from robustlab.evaluation.explanations.record import (
    ExplainedPicture,
    Explanations,
    InstrumentInfo,
    NumberDifference,
    NumberResult,
)
from robustlab.evaluation.record import ModelInfo
from robustlab.explain import Maps
from robustlab.report.confusion import class_name
from robustlab.report.explanation_words import answer, next_steps_for_maps
from robustlab.report.map_attacks import PICTURE, AttackedMap, Tile, attacked_maps
from robustlab.report.map_curves import MapChart, map_charts
from robustlab.report.map_pictures import map_colours, uri_of
from robustlab.report.pictures import is_image_shape, png
from robustlab.report.provenance import Fact, Findings, facts_of, gathered, in_rows
from robustlab.report.words import percent
from robustlab.statistics.intervals import Interval


@dataclass(frozen=True)
class Strip:
    """The maps of one model of one image."""

    series: int
    name: str
    answer: str
    right: bool
    tiles: tuple[Tile, ...]
    """One per method."""


@dataclass(frozen=True)
class ExplainedCard:
    """One image, and the maps of each model for it."""

    title: str
    image: Tile
    strips: tuple[Strip, ...]


class OfModel(NamedTuple):
    """Findings about one model."""

    model: ModelInfo
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Verdict:
    """Checks of the maps of one method, a line for each model."""

    method: str
    words: tuple[tuple[str, bool], ...]
    """In words, and whether it is a doubt, by model."""
    skipped: tuple[str, ...]
    """Checks that could not be made, with the reason."""


@dataclass(frozen=True)
class NumberLine:
    """One number: a result per model, and their difference."""

    method: str
    """Empty: the number is of the model alone."""
    number: str
    info: InstrumentInfo
    cells: tuple[NumberResult | None, ...]
    difference: NumberDifference | None

    @property
    def group(self) -> tuple[str, str]:
        """Heading in the table, and a few words on it; distances of maps from one cause are together."""
        kind, _, cause = self.number.rpartition("-under-")
        if kind:
            under = "an attack that keeps the prediction" if cause == "attack" else "random noise of the same size"
            return f"distance of maps under {cause}", f"{under}; lower is better"
        better = f"; {self.info.better} is better" if self.info.better else ""
        return self.number.replace("-", " "), f"{self.info.help}{better}"

    @property
    def label(self) -> str:
        """Heading of the line inside its group."""
        kind = self.number.rpartition("-under-")[0]
        return f"{self.method}, {kind}" if kind else self.method or "of the model"


@dataclass(frozen=True)
class NumberGroup:
    """One number for all methods."""

    name: str
    words: str
    lines: tuple[NumberLine, ...]


@dataclass(frozen=True)
class ExplainedSubject:
    """One model as the page shows it."""

    series: int
    name: str
    accuracy: Interval


@dataclass(frozen=True)
class ExplanationPage:
    """Everything the template needs."""

    title: str
    first: Explanations
    subjects: tuple[ExplainedSubject, ...]
    serious: tuple[Findings, ...]
    other: tuple[Findings, ...]
    cards: tuple[ExplainedCard, ...]
    lines: tuple[NumberLine, ...]
    verdicts: tuple[Verdict, ...]
    charts: tuple[MapChart, ...]
    attacked: tuple[AttackedMap, ...]
    facts: tuple[Fact, ...]
    commands: tuple[str, ...]
    steps: tuple[str, ...]
    """Next steps for the reader."""
    answer: tuple[str, ...]
    """Answer to the question of the page, in a few sentences."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Checks that could not be made, one sentence each."""
        return tuple(dict.fromkeys(f"{v.method}, {line}" for v in self.verdicts for line in v.skipped))

    @property
    def groups(self) -> tuple[NumberGroup, ...]:
        """Lines of the table, number by number."""
        groups = dict.fromkeys(line.group for line in self.lines)
        return tuple(NumberGroup(*head, tuple(line for line in self.lines if line.group == head)) for head in groups)


def explanation_page(result: Explanations, *, title: str | None) -> ExplanationPage:
    """Arranges an evaluation of explanations.

    Args:
        result: of one model, or of two.
        title: of the page; None: the names of the models and the data.
    """
    findings = gathered([_of_model(result, number) for number in range(len(result.models))])
    names = [model.name for model in result.models]
    return ExplanationPage(
        title=title or f"Explanations of {' and '.join(names)} on {result.data.name}",
        first=result,
        subjects=tuple(ExplainedSubject(i, n, a) for i, (n, a) in enumerate(zip(names, result.accuracy, strict=True))),
        serious=tuple(f for f in findings if f.gravest.severity == "serious"),
        other=tuple(f for f in findings if f.gravest.severity != "serious"),
        cards=tuple(_cards(result)),
        lines=tuple(_lines(result)),
        verdicts=tuple(_verdicts(result)),
        charts=map_charts(result),
        attacked=attacked_maps(result),
        facts=tuple(in_rows([_facts(result, number) for number in range(len(names))])),
        commands=(result.run.command,),
        steps=next_steps_for_maps(result),
        answer=answer(result),
    )


def _of_model(result: Explanations, model: int) -> OfModel:
    """Findings about one model, with the method in front of the sentence."""
    found = [one for one in result.found if one.model == model]
    named = [
        replace(one.finding, title=f"{one.method}: {one.finding.title}") if one.method else one.finding for one in found
    ]
    return OfModel(result.models[model], tuple(named))


def _verdicts(result: Explanations) -> Iterator[Verdict]:
    """A line for each method whose maps were checked."""
    codes: dict[tuple[str, int], list[str]] = {}
    for one in result.found:
        codes.setdefault((one.method, one.model), []).append(one.finding.code)
    for name in dict.fromkeys(one.method for one in result.checked):
        own = [one for one in result.checked if one.method == name]
        words = [
            (", ".join(codes[name, one.model]), True)
            if (name, one.model) in codes
            else (f"passed {len(result.checks) - len(one.skipped)} checks", False)
            for one in own
        ]
        skipped = dict.fromkeys(f"{code}: {why}" for one in own for code, why in one.skipped.items())
        yield Verdict(name, tuple(words), tuple(skipped))


def _lines(result: Explanations) -> Iterator[NumberLine]:
    """Numbers of the models first, then number by number for every method."""
    found = {(one.number, one.method, one.model): one for one in result.results}
    differences = {(one.number, one.method): one for one in result.differences}
    for info in sorted(result.numbers, key=lambda info: (info.name, "", 0) not in found):
        for method in dict.fromkeys(one.method for one in result.results if one.number == info.name):
            cells = tuple(found.get((info.name, method, model)) for model in range(len(result.models)))
            yield NumberLine(method, info.name, info, cells, differences.get((info.name, method)))


def _cards(result: Explanations) -> Iterator[ExplainedCard]:
    """The images of the gallery with the maps of every model by every method."""
    if result.directory is None or not result.pictures or not is_image_shape(result.data.shape):
        return
    x, names = explained_pictures(result), [info.name for info in result.methods]
    shown = [{name: _shown(result, name, model) for name in names} for model in range(len(result.models))]
    for place, (item, image) in enumerate(zip(result.pictures, x, strict=True)):
        label = class_name(result, item.label)
        maps = [{name: one[name][place : place + 1] for name in names} for one in shown]
        yield ExplainedCard(
            title=f"Image {item.id}: {label}",
            image=Tile(png(image, most=PICTURE), f"image {item.id}, {label}", "image"),
            strips=tuple(_strip(result, item, model, one, image) for model, one in enumerate(maps)),
        )


def _shown(result: Explanations, method: str, model: int) -> Maps:
    """The maps of the images of the gallery, in its order."""
    ids, maps = read_maps(result, method, model=model)
    rows = [int((ids == item.id).nonzero()[0, 0]) for item in result.pictures]
    return maps[ids.new_tensor(rows)]


def _strip(result: Explanations, item: ExplainedPicture, model: int, maps: Mapping[str, Maps], image: Tensor) -> Strip:
    """The maps of one model of one image."""
    name, prediction = result.models[model].name, item.predictions[model]
    doubted = {(one.model, one.method) for one in result.found if one.finding.severity == "serious"}
    tiles = []
    for method, one in maps.items():
        explained = class_name(result, int(one.target[0]))
        alt = f"{method} of {name} for {explained} on image {item.id}"
        doubt = (model, method) in doubted
        tiles.append(Tile(uri_of(map_colours(one.per_pixel[0], image), most=PICTURE), alt, method, doubt))
    answer = f"says {class_name(result, prediction)}, {percent(item.confidences[model], 0)}"
    return Strip(model, name, answer, prediction == item.label, tuple(tiles))


def _facts(result: Explanations, model: int) -> dict[str, str]:
    own = {
        "Methods": "; ".join(info.repr for info in result.methods),
        "Numbers": "; ".join(info.repr for info in result.numbers) or "none",
        "Checks": ", ".join(info.name for info in result.checks) or "none",
        "Attack on maps": result.attack.repr if result.attack else "none",
        "Explained": f"{result.score} of the {result.target}",
    }
    return facts_of(result.models[model], result.data, result.run) | own
