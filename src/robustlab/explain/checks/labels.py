"""Label randomisation: maps of a network that learned random labels must be others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core import Streams
from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.explain.checks.likeness import absolute, hardly_changed, signed
from robustlab.explain.checks.registry import CHECKS, CheckOutcome, CheckSpec, CheckSubject, serious

_CODE = "labels-ignored"
_LIKE = 0.35
"""As in ``randomisation``: sound methods have -0.1 to 0.1."""
_PURPOSE = 0x1ABE15


@typed
def shuffled_labels(y: Tensor, seed: int = 0) -> Tensor:
    """Labels (N,) in a random order, for the network that ``LabelRandomisation`` compares with.

    Train a network of the same architecture on the same inputs with these labels until it knows them by heart, and
    give it to ``check_maps`` as ``CheckSubject(..., other=network)``.

    Args:
        y: labels (N,).
        seed: of the order.
    """
    order = Streams(seed, torch.arange(len(y))).fork(_PURPOSE).words(1)[:, 0].argsort(stable=True)
    return y[order.to(y.device)]


@typed
@dataclass(frozen=True)
class LabelRandomisation:
    """Finding for maps that are like those of a network that was trained on shuffled labels.

    Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 4.

    Args:
        images: most examples, the first ones.
    """

    images: int = 100

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        """Outcome without a curve."""
        if subject.other is None:
            return CheckOutcome(skipped="give a network trained on shuffled_labels as CheckSubject(..., other=network)")
        few = subject[: self.images]
        maps = few.again(model=subject.other)
        signs, strengths = float(signed(few.made, maps).mean()), float(absolute(few.made, maps).mean())
        if not hardly_changed(few.made, maps, _LIKE)[0]:
            return CheckOutcome()
        evidence: Evidence = {"signed": signs, "absolute": strengths, "n": len(few)}
        return serious(
            _CODE,
            f"Maps are like those of a network that learned shuffled labels (rank correlation {signs:.2f}).",
            evidence,
            "Such a map does not show what connects inputs and classes: take another method, and check that the other "
            "network has learned its labels.",
        )


CHECKS.register(_CODE, CheckSpec(LabelRandomisation, "maps as after training on shuffled labels", ("edges-only",)))
