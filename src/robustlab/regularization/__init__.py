"""Neural Structured Learning: losses for similar outputs on neighbours, adversarial, virtual or in a graph."""

from robustlab.regularization.adversarial import AdversariallyRegularized, AdversarialRegularization, Losses
from robustlab.regularization.build import build_graph
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
from robustlab.regularization.graph import Graph, Neighbours, read_graph, write_graph
from robustlab.regularization.graph_loss import GraphLoss
from robustlab.regularization.neighbours import Neighbourhood, adversarial_neighbour, target_labels
from robustlab.regularization.pack import GraphRegularization, Packed, PackedExample, pack_neighbours
from robustlab.regularization.virtual import VirtualNeighbourhood, virtual_adversarial_loss

__all__ = [
    "AdversarialRegularization", "AdversariallyRegularized", "CosineDistance", "Distance", "Graph", "GraphLoss",
    "GraphRegularization", "JensenShannonDistance", "KLDistance", "L1Distance", "Limits", "Losses", "Neighbourhood",
    "Neighbours", "Packed", "PackedExample", "SquaredL2Distance", "VirtualNeighbourhood", "adversarial_neighbour",
    "build_graph", "distance_loss", "pack_neighbours", "read_graph", "reduced", "target_labels",
    "virtual_adversarial_loss", "write_graph",
]  # fmt: skip
