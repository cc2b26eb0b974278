"""Graph regularization: similar outputs for examples that are neighbours in a graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.regularization.distance import Distance, Reduction, SquaredL2Distance, distance_loss

Sides: TypeAlias = Literal["both", "example", "neighbour"]
"""Through which outputs the gradient goes."""


@typed
@dataclass(frozen=True)
class GraphLoss:
    """Distance between a model's outputs for examples and for their neighbours in a graph.

        loss = reduction of w_ij * distance(f(x_i), f(neighbour j of x_i))

    Args:
        distance: between outputs: logits, probabilities or embeddings.
        reduction: of all pairs to one number; "mean_nonzero" leaves out neighbours of weight 0, which are padding.
        gradient: outputs that get a gradient: "both", or only those of the examples or the neighbours.

    Source: Bui, Ravi, Ramavajjala, Neural Graph Learning, WSDM 2018, equation 2; defaults as in Neural Structured
    Learning 1.4.0.
    """

    distance: Distance = field(default_factory=SquaredL2Distance)
    reduction: Reduction = "mean_nonzero"
    gradient: Sides = "both"

    def __call__(self, outputs: Tensor, neighbours: Tensor, weights: Tensor | float = 1.0) -> Tensor:
        """The loss of a batch.

        Args:
            outputs: of the examples (N, D).
            neighbours: outputs of K neighbours of each (N, K, D), or of all in a row (N * K, D).
            weights: one for each pair (N, K), (N, K, 1) or (N * K,); 0 for padding. Or one for all.

        Returns: a scalar, or (N, K) or (N, K, D) weighted distances for the reduction "none".
        Raises: ValueError for neighbours that do not fit the examples.
        """
        rows, width = len(outputs), outputs.shape[-1]
        if outputs.ndim != 2 or neighbours.shape[-1] != width or neighbours.numel() % max(outputs.numel(), 1):
            raise ValueError(
                f"outputs (N, D) and those of their neighbours (N, K, D) are needed, got {tuple(outputs.shape)} and "
                f"{tuple(neighbours.shape)}"
            )
        targets = neighbours.reshape(rows, -1, width)
        source = outputs[:, None].expand_as(targets)
        source = source.detach() if self.gradient == "neighbour" else source
        targets = targets.detach() if self.gradient == "example" else targets
        if isinstance(weights, Tensor) and weights.numel() == rows * targets.shape[1]:
            weights = weights.reshape(rows, -1)
        return distance_loss(source, targets, weights, distance=self.distance, reduction=self.reduction)
