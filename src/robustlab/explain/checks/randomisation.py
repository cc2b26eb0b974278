"""Model randomisation: a map that stays when the weights are drawn anew does not show what the weights have learned."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from robustlab.core import Twin
from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.explain.checks.likeness import absolute, by_chance, signed, similar
from robustlab.explain.checks.redraw import copied, grouped, layers_of, redraw_
from robustlab.explain.checks.registry import CHECKS, CheckCurve, CheckOutcome, CheckSpec, CheckSubject, serious
from robustlab.explain.maps import Maps

_CODE = "randomisation-ignored"
_LIKE = 0.35
"""Rank correlation, with signs, from which maps hardly change: on networks that know digits, gradients, integrated
gradients and SmoothGrad have -0.1 to 0.1, guided backpropagation 0.5 to 0.6, and an edge detector 1. Strengths alone do
not tell: gradient x input has 0.9, as both maps are 0 where the image is black."""


@typed
@dataclass(frozen=True)
class Randomisation:
    """Finding for maps that hardly change when the layers are drawn anew, from the top down.

    Layers keep the weights that were drawn for them, so that at the last stage the whole network is new. Maps are
    compared with those of the trained network, for the same classes, by Spearman's correlation of the values and of
    the strengths per pixel, and by SSIM. Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim, Sanity Checks for
    Saliency Maps, NeurIPS 2018, section 3.

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
        curve = _curve(few, copied(model), self.stages)
        if curve is None:
            return CheckOutcome(skipped="the model has no layers with weights that could be drawn anew")
        return CheckOutcome(_judged(few.made, curve).finding, curve)


def _curve(subject: CheckSubject, model: nn.Module, stages: int) -> CheckCurve | None:
    groups = grouped(layers_of(model, subject.x), stages)
    found: list[tuple[float, float, float]] = []
    for group in groups:
        for layer in group:
            redraw_(model, layer, subject.seed)
        found.append(_likeness(subject.made, subject.again(model=model)))
    if not groups:
        return None
    values = dict(zip(("signed", "absolute", "ssim"), zip(*found, strict=True), strict=True))
    return CheckCurve(tuple(group[-1] for group in groups), values, len(subject))


def _likeness(before: Maps, after: Maps) -> tuple[float, float, float]:
    return float(signed(before, after).mean()), float(absolute(before, after).mean()), similar(before, after)


def _judged(maps: Maps, curve: CheckCurve) -> CheckOutcome:
    signs, strengths = (curve.values[name][-1] for name in ("signed", "absolute"))
    if signs <= max(_LIKE, by_chance(maps)):
        return CheckOutcome()
    evidence: Evidence = {"signed": signs, "absolute": strengths, "stages": len(curve.points), "n": curve.n}
    return serious(
        _CODE,
        f"Maps hardly change when all layers are drawn anew (rank correlation {signs:.2f} with the trained network's).",
        evidence,
        "Such a map shows the input, as an edge detector does, not what was learned: take gradients, integrated "
        "gradients or SmoothGrad.",
    )


CHECKS.register(
    _CODE,
    CheckSpec(Randomisation, "maps hardly change when layers are drawn anew", ("labels-ignored", "edges-only")),
)
