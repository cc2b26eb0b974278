"""Measures of a trained network without an attack, as values: under corruptions, on mistakes of another."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import nn

from robustlab.core import Metrics
from robustlab.corruptions import CORRUPTIONS, corruption
from robustlab.evaluation import CorruptionEvaluation, CorruptionSettings, evaluate_corruptions
from robustlab.runs.progress import Progress
from robustlab.studies.claim_engine.definition import UNSAID
from robustlab.studies.claim_engine.measures import answers, tested
from robustlab.studies.claim_engine.network import Network, Site

_SIDE = 28  # of the images of Fashion-MNIST, in pixels


@dataclass(frozen=True)
class UnderCorruptions:
    """Accuracy on test images that were corrupted, at all five severities.

    Gives ``clean_accuracy``, ``corrupted_accuracy`` (mean over corruptions and severities), ``FAMILY_accuracy``, and of
    each corruption ``NAME_accuracy`` (mean over severities) and ``NAME_fall`` (the smallest of the four drops of
    accuracy from one severity to the next; below 0 if it rises somewhere).

    Args:
        n: test images, a simple random sample, another for each seed.
        names: of the corruptions.
        versions: of corruptions whose images of this size have changed; older results of these do not count.
    """

    n: int
    names: tuple[str, ...] = CORRUPTIONS
    versions: tuple[str, ...] = field(default=(), metadata={UNSAID: ()})

    def __post_init__(self) -> None:
        made = [corruption(name) for name in self.names]
        versions = tuple(one.described(_SIDE) for one in made if one.described(_SIDE) != repr(one))
        object.__setattr__(self, "versions", versions)

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Measures accuracy on the corrupted sample."""

        def report(at: Progress) -> None:
            lab.report(at._replace(task="corrupt"))

        settings = CorruptionSettings(seed=lab.seed, progress=report)
        return _metrics(evaluate_corruptions(model, tested(lab, self.n), corruptions=self.names, settings=settings))


def _metrics(found: CorruptionEvaluation) -> Metrics:
    metrics = {"corrupted_accuracy": found.mean_accuracy.value}
    if found.clean is not None:
        metrics["clean_accuracy"] = found.clean.accuracy.value
    metrics |= {f"{one.family}_accuracy": one.accuracy.value for one in found.families}
    for info in found.corruptions:
        right = [cell.accuracy.value for cell in found.cells if cell.corruption == info.name]
        metrics[f"{info.name}_accuracy"] = sum(right) / len(right)
        metrics[f"{info.name}_fall"] = min(milder - harder for milder, harder in pairwise(right))
    return metrics


@dataclass(frozen=True)
class OnMistakesOf:
    """Error of a network on confident mistakes of another one: ``shared_error``, and ``clean_error``.

    Args:
        other: the other network.
        n: test images, as in ``UnderCorruptions``.
        confidence: smallest probability of the wrong class that counts as confident.
    """

    other: Network
    n: int
    confidence: float = 0.5

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Compares the mistakes of both on the sample; without mistakes of the other there is no ``shared_error``."""
        chosen = tested(lab, self.n)
        theirs = torch.cat([logits for logits, _ in answers(lab.trained(self.other).last, chosen)]).softmax(dim=1)
        wrong = torch.cat([logits.argmax(dim=1) != y for logits, y in answers(model, chosen)])
        y = torch.cat([y for _, y in answers(model, chosen)])
        confidence, prediction = theirs.max(dim=1)
        sure = (prediction != y) & (confidence >= self.confidence)
        metrics = {"clean_error": float(wrong.double().mean()), "clean_accuracy": float((~wrong).double().mean())}
        return metrics | ({"shared_error": float(wrong[sure].double().mean())} if bool(sure.any()) else {})
