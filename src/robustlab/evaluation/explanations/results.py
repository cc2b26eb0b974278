"""Result of an evaluation of explanations, drawn from its parts; the same parts give the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from robustlab.evaluation.explanations.manifest import ExplanationManifest
from robustlab.evaluation.explanations.parts import Part, Parts, unpacked
from robustlab.evaluation.explanations.record import (
    CheckResult,
    ExplainedPicture,
    Explanations,
    InstrumentInfo,
    MapFinding,
    MethodResult,
    NumberDifference,
    NumberResult,
)
from robustlab.explain import DISTANCES, Measured, compare_numbers
from robustlab.explain.checks import CheckReport
from robustlab.runs.codec import decode
from robustlab.statistics.intervals import clopper_pearson

VALUES = "value of "
"""Prefix of the values of a number in its file."""
Numbers = dict[tuple[str, str], Measured]


def assemble(manifest: ExplanationManifest, parts: Parts, plan: Sequence[Part]) -> Explanations:
    """Draws the result from the parts of a run.

    Args:
        manifest: of the run.
        parts: its files.
        plan: all parts.
    """
    models, level = range(len(manifest.models)), manifest.level
    answers = [joined(parts, plan, "answers", model) for model in models]
    shown = parts.known(next(part.path for part in plan if part.kind == "pictures"))["ids"]
    right = [one["prediction"] == one["label"] for one in answers]
    attacked = sum(part.count for part in plan if (part.kind, part.model) == ("attacks", 0))
    checked = [_checked(parts, part) for part in plan if part.kind == "checks"]
    found = [_measured(manifest, parts, plan, model) for model in models]
    return Explanations(
        models=manifest.models,
        data=replace(manifest.data, sha256=hashlib.sha256(answers[0]["digest"].numpy().tobytes()).hexdigest()),
        run=manifest.run,
        target=manifest.target,
        score=manifest.score,
        methods=manifest.methods,
        numbers=(*manifest.numbers, *_of_attack(found)),
        level=level,
        accuracy=tuple(clopper_pearson(int(one.sum()), len(one), level) for one in right),
        maps=tuple(_method(parts, plan, info.name, model) for info in manifest.methods for model in models),
        results=tuple(_results(found, level)),
        differences=tuple(_differences(found, level)),
        checks=manifest.checks,
        checked=tuple(one for one, _ in checked),
        attack=manifest.attack if attacked else None,
        attacked=attacked,
        found=tuple(one for _, some in checked for one in some),
        pictures=tuple(_picture(answers, int(number)) for number in shown),
    )


def joined(parts: Parts, plan: Sequence[Part], kind: str, model: int, name: str = "") -> dict[str, Tensor]:
    """The tensors of all batches of one kind of part, joined along their examples; seconds are added.

    Raises: RunError if a file was removed or damaged meanwhile.
    """
    found = [parts.known(one.path) for one in plan if (one.kind, one.model, one.name) == (kind, model, name)]
    tensors = {key: torch.cat([one[key] for one in found]) for key in found[0] if key != "seconds"}
    return {**tensors, "seconds": torch.stack([one["seconds"] for one in found]).sum()}


def _method(parts: Parts, plan: Sequence[Part], name: str, model: int) -> MethodResult:
    """Facts on the maps of one model by one method, from one file after the other."""
    seconds, gaps, nonfinite, zero = 0.0, list[float](), 0, 0
    for one in plan:
        if (one.kind, one.model, one.name) == ("maps", model, name):
            found = parts.known(one.path)
            values, seconds = found["maps"].double().flatten(1), seconds + float(found["seconds"])
            nonfinite += int((~values.isfinite().all(1)).sum())
            zero += int((values == 0).all(1).sum())
            if "change" in found:
                change = found["change"].double()
                gaps.append(float(((values.sum(1) - change).abs() / change.abs().clamp(min=1)).max()))
    return MethodResult(model, name, seconds, max(gaps) if gaps else None, nonfinite, zero)


def _measured(manifest: ExplanationManifest, parts: Parts, plan: Sequence[Part], model: int) -> Numbers:
    """Values of one model, by method and number; numbers of the model alone have the method ""."""
    infos, found = {info.name: info for info in manifest.numbers}, Numbers()
    for method in dict.fromkeys(part.name for part in plan if part.kind == "numbers"):
        for name, values in joined(parts, plan, "numbers", model, method).items():
            if name.startswith(VALUES):
                number = name.removeprefix(VALUES)
                found[method, number] = Measured(number, values, infos[number].repr)
    if manifest.attack is not None and any(part.kind == "attacks" for part in plan):
        attacked = joined(parts, plan, "attacks", model, manifest.attack.name)
        for name, values in attacked.items():
            if name.startswith(VALUES):
                number = name.removeprefix(VALUES)
                found[manifest.attack.name, number] = Measured(number, values, manifest.attack.repr)
    return found


def _checked(parts: Parts, part: Part) -> tuple[CheckResult, list[MapFinding]]:
    """Outcome of the checks of the maps of one model by one method, and its findings."""
    tensors = parts.known(part.path)
    report = decode(CheckReport, cast("dict[str, object]", unpacked(tensors["report"])))
    result = CheckResult(part.model, part.name, part.count, report.curves, report.skipped)
    return result, [MapFinding(part.model, part.name, one) for one in report.findings]


def _of_attack(found: Sequence[Numbers]) -> list[InstrumentInfo]:
    """Distances of maps under noise and under attack."""
    infos = []
    for (_, name), one in found[0].items():
        kind, _, cause = name.rpartition("-under-")
        if kind in DISTANCES and cause in ("noise", "attack"):
            under = "an attack that keeps the prediction" if cause == "attack" else "random noise of the same size"
            words = f"{DISTANCES.get(kind).help or kind}, under {under}"
            infos.append(InstrumentInfo(name, one.setting, words, "lower"))
    return infos


def _results(found: Sequence[Numbers], level: float) -> Iterator[NumberResult]:
    for model, numbers in enumerate(found):
        for (method, name), one in numbers.items():
            yield NumberResult(model, method, name, one.interval(level), one.undefined)


def _differences(found: Sequence[Numbers], level: float) -> list[NumberDifference]:
    """Second model less first, corrected for all numbers of all methods together."""
    if len(found) < 2:
        return []
    first, second = ({f"{m}/{n}": one for (m, n), one in numbers.items()} for numbers in found)
    compared = compare_numbers(first, second, level=level)
    return [
        NumberDifference(method, name, one.difference, one.p, one.corrected)
        for (method, name), one in zip(found[0], compared.values(), strict=True)
    ]


def _picture(answers: Sequence[Mapping[str, Tensor]], number: int) -> ExplainedPicture:
    at = int((answers[0]["ids"] == number).nonzero()[0, 0])
    return ExplainedPicture(
        id=number,
        label=int(answers[0]["label"][at]),
        predictions=tuple(int(one["prediction"][at]) for one in answers),
        confidences=tuple(float(one["confidence"][at]) for one in answers),
    )
