"""Alignment of gradients with images."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.case import ScoreName
from robustlab.explain.numbers.registry import NUMBERS, Cost, NumberSpec
from robustlab.explain.numbers.subject import Subject, flat, where_defined


@typed
@dataclass(frozen=True)
class Alignment:
    """Alignment of the input with the gradient of a score s of the explained class.

        |<x, grad s(x)>| / ||grad s(x)||_2,   as a cosine divided by ||x||_2 too

    The first form is the length of the image's part along the gradient, in the units of the L2 norm; of a linear binary
    classifier without bias, with the margin as score, it is the distance to the boundary. The cosine is in [0, 1]. Both
    depend on where 0 is: in [0, 1] the mean brightness of an image is a part of it. Undefined where the gradient is 0.
    The method of the maps does not matter. One forward and one backward pass.

    Args:
        score: "logit" of the class as in definition 4 of the source, or "margin" over the best other class, the
            gradient of which is that of the source's binarised classifier where the best other class is also the
            nearest.
        cosine: True for the cosine.

    Source: Etmann, Lunz, Maass, Schoenlieb, On the Connection Between Adversarial Robustness and Saliency Map
    Interpretability, ICML 2019.
    """

    score: ScoreName = "logit"
    cosine: bool = False

    def cost(self, classes: int) -> Cost:
        """Passes at most."""
        del classes
        return Cost(1, 1)

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,)."""
        x, grad = flat(subject.x), flat(replace(subject.case, score=self.score).gradient(subject.x))
        direction = grad / grad.abs().amax(1, keepdim=True)
        along = (x * direction).sum(1).abs() / direction.norm(dim=1)
        if self.cosine:
            along = along / x.norm(dim=1)
        return where_defined(along, along.isfinite())


def _cosine(score: ScoreName = "logit") -> Alignment:
    return Alignment(score, cosine=True)


_SOURCE = "Etmann et al. 2019"
NUMBERS.register(
    "alignment",
    NumberSpec(Alignment, "part of the image along the gradient", "L2 of inputs", "higher", _SOURCE, "model"),
)
NUMBERS.register(
    "alignment-cosine", NumberSpec(_cosine, "cosine of image and gradient", "1", "higher", _SOURCE, "model")
)
