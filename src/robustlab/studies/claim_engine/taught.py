"""Noisy Student as a value: teacher, unlabelled images and noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from robustlab.core import Examples, Recipe
from robustlab.data.unlabelled import WithoutLabels
from robustlab.studies.claim_engine.definition import fingerprint
from robustlab.studies.claim_engine.measures import answers
from robustlab.studies.claim_engine.network import Network, Site, TrainingSet
from robustlab.training import PseudoLabels, noisy_student
from robustlab.training.recipes.augment import RandAugment


@dataclass(frozen=True)
class TaughtBy:
    """Training of a student on labels, and on pseudo-labels of a trained network.

    Args:
        teacher: the other network, in eval mode.
        unlabelled: images that it labels; their own labels are not read.
        ratio: of these with each labelled one.
        noise: changes the images of the student; None: no change.
        soft: the student learns probabilities; False: the most probable class.
        learning: recipe for a mixed batch; None: the mean cross-entropy.
    """

    teacher: Network
    unlabelled: TrainingSet
    ratio: int
    noise: RandAugment | None = None
    soft: bool = True
    learning: Recipe | None = None

    def planned(self, lab: Site, labelled: Examples) -> Recipe:
        """The recipe, with the pseudo-labels of the trained teacher."""
        pool = WithoutLabels(self.unlabelled.examples(lab))
        probs = [logits.softmax(dim=1) for logits, _ in answers(lab.trained(self.teacher).last, pool)]
        source = PseudoLabels(pool, labelled.classes, torch.cat(probs), {"teacher": fingerprint(self.teacher)})
        chosen = source.chosen(threshold=0.0, soft=self.soft, seed=lab.seed)  # all images are of classes that it knows
        return noisy_student(chosen, ratio=self.ratio, noise=self.noise, recipe=self.learning)
