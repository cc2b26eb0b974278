"""Mined natural adversarial examples in experiments: kept out of training, and measured afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from robustlab.core import Examples, Metrics, subset
from robustlab.data import sample
from robustlab.data.splits import Part
from robustlab.studies.claim_engine.measures import accuracy
from robustlab.studies.claim_engine.network import HARD, Site


@dataclass(frozen=True)
class WithoutHard:
    """A simple random sample of the training images that are not mined hard ones, another for each seed.

    Args:
        images: their number.
        after: images of the same draw that are left to other samples, so that two samples have none in common.
    """

    images: int
    after: int = 0

    def examples(self, lab: Site) -> Examples:
        """The sample."""
        whole = lab.data("train")
        rows = _others(whole, lab.data(HARD))
        count, before = (min(n, lab.budget.images or n) for n in (self.images, self.after))
        larger, smaller = (subset(len(rows), size, seed=lab.seed) for size in (before + count, before))
        chosen = larger[~torch.isin(larger, smaller)]
        return Part(f"{whole.name} ({len(chosen)}, no hard ones)", whole, rows[chosen])


def _others(whole: Examples, hard: Examples) -> torch.Tensor:
    """The numbers of the training images that are not hard; numbers of hard ones count training images first.

    Raises: ValueError if the hard images have no numbers.
    """
    if not isinstance(hard, Part):
        raise ValueError(f"{hard.name} has no numbers of its images in {whole.name}: give a part of a data set")
    everything = torch.arange(len(whole))
    return everything[~torch.isin(everything, hard.rows)]


@dataclass(frozen=True)
class OnHard:
    """Accuracy on mined natural adversarial examples: ``hard_accuracy``. Train on ``WithoutHard``."""

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Measures accuracy on all of them, within the budget."""
        hard = lab.data(HARD)
        return {
            "hard_accuracy": accuracy(model, sample(hard, min(len(hard), lab.budget.test or len(hard)), seed=lab.seed))
        }
