"""Training with a graph of images, as a value: embedding of the images, and use of the graph."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.core import Examples, subset
from robustlab.data.splits import Part
from robustlab.models import load
from robustlab.regularization import Graph, GraphLoss, GraphRegularization, KLDistance, build_graph
from robustlab.studies.claim_engine.network import Site

_AT_ONCE = 200
_CANDIDATES = 10


@dataclass(frozen=True)
class PretrainedFeatures:
    """Features of images before the last layer of a network trained on ImageNet.

    Args:
        name: of the network, as ``models.load`` takes it.
        size: height and width that images are enlarged to.
    """

    name: str = "efficientnet-lite0"
    size: int = 56

    def __call__(self, examples: Examples) -> Tensor:
        """Features (N, D), with their mean subtracted; grey images are passed as colour ones."""
        normalise, net = cast("tuple[Any, Any]", tuple(load(self.name, pretrained=True).children()))
        net.to(memory_format=torch.channels_last)
        parts = []
        with torch.no_grad():
            for ids in torch.arange(len(examples)).split(_AT_ONCE):
                x = examples.batch(ids).x.expand(-1, 3, -1, -1)
                larger = F.interpolate(x, size=self.size, mode="bilinear").to(memory_format=torch.channels_last)
                parts.append(net.forward_head(net.forward_features(normalise(larger)), pre_logits=True))
        features = torch.cat(parts)
        return features - features.mean(dim=0)


@dataclass(frozen=True)
class WithGraph:
    """Graph regularization on all training images, few of which have a label.

    Args:
        embedding: features by which images are compared.
        threshold: smallest cosine of an edge.
        neighbours: of each image, at most.
        multiplier: weight of the graph loss.
        unlabelled: images without label that go with each labelled one.
        graph_loss: distance and reduction.
    """

    embedding: PretrainedFeatures = field(default_factory=PretrainedFeatures)
    threshold: float = 0.5
    neighbours: int = 3
    multiplier: float = 1.0
    unlabelled: int = 4
    graph_loss: GraphLoss = field(default_factory=lambda: GraphLoss(KLDistance(softmax=True)))

    def planned(self, lab: Site, labelled: Examples) -> GraphRegularization:
        """The recipe for some labelled images.

        Raises: ValueError if these are not a part of the training data.
        """
        whole = lab.data("train")
        if not isinstance(labelled, Part) or (labelled.whole.name, len(labelled.whole)) != (whole.name, len(whole)):
            raise ValueError(f"a graph of {whole.name} needs labelled images that are a part of it: {labelled.name}")
        pool, nodes = _pool(whole, labelled.rows, lab)
        graph = _connected(self.embedding, cast(Hashable, pool), self.threshold)
        return GraphRegularization(
            pool, graph, self.neighbours, nodes, self.multiplier, self.unlabelled, self.graph_loss
        )


def _pool(whole: Examples, labelled: Tensor, lab: Site) -> tuple[Examples, Tensor]:
    """All training images that the budget allows, the labelled ones among them, and the numbers of these."""
    size = min(len(whole), lab.budget.images or len(whole))
    if size == len(whole):
        return whole, labelled
    rows = torch.cat([labelled, subset(len(whole), size, seed=lab.seed)]).unique()
    return Part(f"{whole.name} ({len(rows)} of {len(whole)})", whole, rows), torch.searchsorted(rows, labelled)


@lru_cache(maxsize=1)
def _connected(embedding: PretrainedFeatures, pool: Hashable, threshold: float) -> Graph:
    """The graph of a pool; that of all training images is the same for every arm and seed."""
    return build_graph(embedding(cast(Examples, pool)), threshold, top_k=_CANDIDATES).undirected()
