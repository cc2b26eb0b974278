"""Result of an evaluation of explanations, drawn from its parts; the same parts give the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robustlab.evaluation.explanations.manifest import ExplanationManifest
from robustlab.evaluation.explanations.parts import Part, Parts
from robustlab.evaluation.explanations.record import ExplainedPicture, Explanations, MethodResult
from robustlab.statistics.intervals import clopper_pearson


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
    return Explanations(
        models=manifest.models,
        data=replace(manifest.data, sha256=hashlib.sha256(answers[0]["digest"].numpy().tobytes()).hexdigest()),
        run=manifest.run,
        target=manifest.target,
        score=manifest.score,
        methods=manifest.methods,
        numbers=manifest.numbers,
        level=level,
        accuracy=tuple(clopper_pearson(int(one.sum()), len(one), level) for one in right),
        maps=tuple(_method(parts, plan, info.name, model) for info in manifest.methods for model in models),
        results=(),
        differences=(),
        findings=(),
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


def _picture(answers: Sequence[Mapping[str, Tensor]], number: int) -> ExplainedPicture:
    at = int((answers[0]["ids"] == number).nonzero()[0, 0])
    return ExplainedPicture(
        id=number,
        label=int(answers[0]["label"][at]),
        predictions=tuple(int(one["prediction"][at]) for one in answers),
        confidences=tuple(float(one["confidence"][at]) for one in answers),
    )
