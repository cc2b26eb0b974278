"""Edges: a map that is strong where the image has edges is easily taken for an explanation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.core.finding import Evidence, Finding
from robustlab.core.kinds import typed
from robustlab.explain.checks.likeness import absolute, by_chance
from robustlab.explain.checks.registry import CHECKS, CheckOutcome, CheckSpec, CheckSubject
from robustlab.explain.maps import Maps

_CODE = "edges-only"
_LIKE = 0.7
"""Rank correlation of strengths: gradient x input and integrated gradients have 0.45 on digits, gradients 0.3."""


def edges_of(x: Tensor) -> Tensor:
    """Size of Sobel's gradient at each pixel of images (N, C, H, W), of the mean of their channels: (N, 1, H, W)."""
    grey = F.pad(x.detach().double().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float64, device=x.device)[None, None]
    return torch.hypot(F.conv2d(grey, across), F.conv2d(grey, across.transpose(2, 3)))


@typed
@dataclass(frozen=True)
class Edges:
    """Note on maps whose strengths rank the pixels as an edge detector does.

    Adebayo et al. (NeurIPS 2018, section 5) show how easily edges pass for an explanation.

    Args:
        images: most examples, the first ones.
    """

    images: int = 100

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        """Outcome without a curve."""
        if subject.x.ndim != 4:
            return CheckOutcome(skipped="the inputs are no images")
        few = subject[: self.images]
        edges = Maps(edges_of(few.x), few.made.target, "edges")
        like = float(absolute(few.made, edges).mean())
        if like <= max(_LIKE, by_chance(few.made)):
            return CheckOutcome()
        evidence: Evidence = {"correlation": like, "n": len(few)}
        return CheckOutcome(
            Finding(
                _CODE,
                "info",
                f"Maps rank the pixels as an edge detector does (rank correlation {like:.2f}).",
                evidence,
                "Look at the signs, and compare with another class: what is left when edges are the same?",
            )
        )


CHECKS.register(_CODE, CheckSpec(Edges, "maps rank pixels as an edge detector does"))
