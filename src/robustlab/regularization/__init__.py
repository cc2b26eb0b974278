"""Neural Structured Learning: losses that make a model say alike of neighbours, adversarial, virtual or in a graph."""

from robustlab.regularization.adversarial import AdversariallyRegularized, AdversarialRegularization, Losses
from robustlab.regularization.distance import (
    CosineDistance,
    Distance,
    JensenShannonDistance,
    KLDistance,
    L1Distance,
    SquaredL2Distance,
    distance_loss,
    reduced,
)
from robustlab.regularization.features import Limits
from robustlab.regularization.graph_loss import GraphLoss
from robustlab.regularization.neighbours import Neighbourhood, adversarial_neighbour, target_labels
from robustlab.regularization.virtual import VirtualNeighbourhood, virtual_adversarial_loss

__all__ = [
    "AdversarialRegularization", "AdversariallyRegularized", "CosineDistance", "Distance", "GraphLoss",
    "JensenShannonDistance", "KLDistance", "L1Distance", "Limits", "Losses", "Neighbourhood", "SquaredL2Distance",
    "VirtualNeighbourhood", "adversarial_neighbour", "distance_loss", "reduced", "target_labels",
    "virtual_adversarial_loss",
]  # fmt: skip
