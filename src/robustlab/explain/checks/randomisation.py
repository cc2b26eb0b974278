"""Model randomisation: a map that stays when the weights are drawn anew does not show what the weights have learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from robustlab.core import Twin
from robustlab.core.finding import Evidence, Finding
from robustlab.core.kinds import typed
from robustlab.explain.checks.likeness import absolute, hardly_changed, signed, similar
from robustlab.explain.checks.redraw import copied, grouped, layers_of, redraw_
from robustlab.explain.checks.registry import CHECKS, CheckCurve, CheckOutcome, CheckSpec, CheckSubject

_CODE = "randomisation-ignored"
_LIKE = 0.35
"""Rank correlation, with signs, from which maps hardly change: on networks that know digits, gradients, integrated
gradients and SmoothGrad have -0.1 to 0.1, guided backpropagation 0.5 to 0.6, and an edge detector 1. Strengths alone do
not tell: gradient x input has 0.9, as both maps are 0 where the image is black."""
_STAYS = 0.5
"""The same for the stages of the upper half, all of them: guided backpropagation has 1 to 0.9 on EfficientNet-Lite0,
and 0.4 when all layers are new; gradients have -0.1 to 0.3."""


@typed
@dataclass(frozen=True)
class Randomisation:
    """Finding for maps that hardly change when all layers, or those of the upper half, are drawn anew.

    From the top down; layers keep the weights that were drawn for them, so that at the last stage the whole network is
    new. Maps are compared with those of the trained network, for the same classes, by Spearman's correlation of the
    values and of the strengths per pixel, and by SSIM. Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim, Sanity
    Checks for Saliency Maps, NeurIPS 2018, section 3.

    Args:
        stages: most groups of layers; the top layer is one, and the others are shared evenly.
        images: most examples, the first ones.
    """

    stages: int = 12
    images: int = 100

    def __post_init__(self) -> None:
        if self.stages < 1 or self.images < 1:
            raise ValueError(f"stages and images must be at least 1, got {self.stages} and {self.images}")

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        """Outcome with the curve."""
        model = subject.model.model if isinstance(subject.model, Twin) else subject.model
        if not isinstance(model, nn.Module):
            return CheckOutcome(skipped="the model is a function, without layers to draw anew: give the torch module")
        few = subject[: self.images]
        stages = list(_stages(few, copied(model), self.stages))
        if not any(stage.drawn for stage in stages):
            return CheckOutcome(skipped="the model has no layers with weights that could be drawn anew")
        curve = CheckCurve(
            tuple(stage.layer for stage in stages),
            {name: tuple(stage.likeness[name] for stage in stages) for name in stages[0].likeness},
            len(few),
        )
        return CheckOutcome(_finding(curve, stages), curve)


class _Stage(NamedTuple):
    """Comparison of maps after the layers from the top down to one were drawn anew."""

    layer: str
    drawn: bool
    likeness: dict[str, float]
    like: bool
    stays: bool


def _stages(subject: CheckSubject, model: nn.Module, stages: int) -> Iterator[_Stage]:
    before = subject.made
    for group in grouped(layers_of(model, subject.x), stages):
        drawn = [redraw_(model, layer, subject.seed) for layer in group]
        after = subject.again(model=model)
        likeness = {
            "signed": float(signed(before, after).mean()),
            "absolute": float(absolute(before, after).mean()),
            "ssim": similar(before, after),
        }
        like, stays = hardly_changed(before, after, _LIKE, _STAYS)
        yield _Stage(group[-1], any(drawn), likeness, like, stays)


def _finding(curve: CheckCurve, stages: list[_Stage]) -> Finding | None:
    upper = stages[: len(stages) // 2]
    if stages[-1].like:
        return _hardly(curve, len(stages), "all layers")
    if upper and all(stage.stays for stage in upper):
        return _hardly(curve, len(upper), "the upper half of the layers")
    return None


def _hardly(curve: CheckCurve, redrawn: int, which: str) -> Finding:
    signs, strengths = (curve.values[name][redrawn - 1] for name in ("signed", "absolute"))
    evidence: Evidence = {"signed": signs, "absolute": strengths, "stages": redrawn, "n": curve.n}
    return Finding(
        _CODE,
        "serious",
        f"Maps hardly change when {which} are drawn anew (rank correlation {signs:.2f} with the trained network's).",
        evidence,
        "Such a map shows the input, as an edge detector does, or what the lowest layers make of it, not what was "
        "learned: take gradients, integrated gradients or SmoothGrad.",
    )


CHECKS.register(
    _CODE,
    CheckSpec(Randomisation, "maps hardly change when layers are drawn anew", ("labels-ignored", "edges-only")),
)
