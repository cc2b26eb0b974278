"""Measures of a trained network, as values: clean accuracy, and accuracy under attacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from robustlab.core import Attack, Examples, Labels, Logits, Metrics, frozen
from robustlab.data import sample
from robustlab.evaluation import Evaluation, Progress, Settings, evaluate
from robustlab.studies.claim_engine.network import Network, Site
from robustlab.training import perturbed_once


class Measure(Protocol):
    """A measure of a network: numbers by name."""

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Measures a network with the seed, and within the budget, of the lab."""


@dataclass(frozen=True)
class Under:
    """Accuracy on test images, clean and under attacks, and confidence in its mistakes.

    Gives ``clean_accuracy``, ``clean_error`` and for each attack ``NAME_accuracy`` (right on the image and on its
    adversarial version), ``NAME_error`` (1 minus that) and ``NAME_confidence`` (mean probability of the wrong class
    over fooled images; left out without any).

    Args:
        attacks: by name.
        n: test images, a simple random sample, another for each seed.
    """

    attacks: tuple[tuple[str, Attack], ...]
    n: int

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Attacks the sample."""
        found = attacked(model, tested(lab, self.n), dict(self.attacks), lab)
        metrics = {"clean_accuracy": found.clean.accuracy.value, "clean_error": 1 - found.clean.accuracy.value}
        for one in found.results:
            metrics[f"{one.attack}_accuracy"] = one.robust.value
            metrics[f"{one.attack}_error"] = 1 - one.robust.value
            metrics[f"{one.attack}_confidence"] = one.mean_confidence
        return {name: value for name, value in metrics.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Clean:
    """``clean_accuracy`` and ``clean_error`` on test images.

    Args:
        n: test images, as in ``Under``.
    """

    n: int

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Measures the sample."""
        right = accuracy(model, tested(lab, self.n))
        return {"clean_accuracy": right, "clean_error": 1 - right}


@dataclass(frozen=True)
class OnPerturbedOnce:
    """Accuracy on test images that were perturbed once, against another network: ``perturbed_once_accuracy``.

    Args:
        attack: that perturbs.
        against: the other network.
        n: test images, as in ``Under``.
    """

    attack: Attack
    against: Network
    n: int

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Measures accuracy on the perturbed sample."""
        chosen = tested(lab, self.n)
        perturbed = perturbed_once(lab.trained(self.against).last, chosen, self.attack, seed=lab.seed)
        return {"perturbed_once_accuracy": accuracy(model, perturbed)}


def tested(lab: Site, n: int) -> Examples:
    """A simple random sample of the test images, within the budget."""
    test = lab.data("test")
    return sample(test, min(n, lab.budget.test or n, len(test)), seed=lab.seed)


def accuracy(model: nn.Module, examples: Examples, *, batch_size: int = 256) -> float:
    """Fraction of examples that a model classifies correctly in eval mode."""
    right = sum(int((logits.argmax(dim=1) == y).sum()) for logits, y in answers(model, examples, batch_size=batch_size))
    return right / len(examples)


def answers(model: nn.Module, examples: Examples, *, batch_size: int = 256) -> Iterator[tuple[Logits, Labels]]:
    """Logits (N, K) of a model in eval mode, and labels, for all examples in their order, a batch at a time."""
    place = next(model.parameters()).device
    for ids in torch.arange(len(examples)).split(batch_size):
        batch = examples.batch(ids)
        with frozen(model, training=False), torch.no_grad():
            logits = model(batch.x.to(place)).cpu()
        yield logits, batch.y


def attacked(model: nn.Module, examples: Examples, attacks: Mapping[str, Attack], lab: Site) -> Evaluation:
    """An evaluation without files."""
    names = ", ".join(attacks)

    def report(at: Progress) -> None:
        lab.report(at._replace(task=f"attack with {names}", detail=at.task))

    settings = Settings(seed=lab.seed, keep="gallery", doctor=False, progress=report)
    return evaluate(model, examples, attacks=attacks, settings=settings)
