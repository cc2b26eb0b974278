"""Noisy Student as a value: whose pseudo-labels, of which images, and with which noise they are learned."""

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
    """What a student learns: labels, and what a trained network says of images without labels.

    Args:
        teacher: the other network, asked in eval mode.
        unlabelled: images that it is asked about; their labels are not read.
        ratio: of these with each labelled one.
        noise: changes the images that the student sees; None: leaves them.
        soft: the student learns probabilities; False: the most probable class.
        learning: what is done with a mixed batch; None: the mean cross-entropy.
    """

    teacher: Network
    unlabelled: TrainingSet
    ratio: int
    noise: RandAugment | None = None
    soft: bool = True
    learning: Recipe | None = None

    def planned(self, lab: Site, labelled: Examples) -> Recipe:
        """The recipe, once the teacher is trained and has said what it thinks of each image."""
        pool = WithoutLabels(self.unlabelled.examples(lab))
        said = [logits.softmax(dim=1) for logits, _ in answers(lab.trained(self.teacher).last, pool)]
        source = PseudoLabels(pool, labelled.classes, torch.cat(said), {"teacher": fingerprint(self.teacher)})
        chosen = source.chosen(threshold=0.0, soft=self.soft, seed=lab.seed)  # all are of classes that it knows
        return noisy_student(chosen, ratio=self.ratio, noise=self.noise, recipe=self.learning)
