"""Examples together with their neighbours in a graph, as a data set and as a recipe of training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from robustlab.core import Batch, Examples, Images, Logits, Metrics, RecipeState, Streams
from robustlab.core.kinds import typed
from robustlab.core.losses import cross_entropy
from robustlab.core.metrics import measured
from robustlab.regularization.adversarial import BnMode, Loss, labelled, mean_loss, passing
from robustlab.regularization.graph import Graph, Neighbours
from robustlab.regularization.graph_loss import GraphLoss

_DRAWN = 0x9A0


class PackedExample(NamedTuple):
    """An example with its neighbours."""

    x: Tensor
    """Its input."""
    y: Tensor
    """Its label, int64."""
    neighbours: Tensor
    """Inputs of its neighbours (K, ...), the strongest first; its own where there are no more."""
    weights: Tensor
    """Weights of the edges to them (K,); 0 for padding."""


class Packed(Dataset[PackedExample]):
    """Result of ``pack_neighbours``; a loader can stack its items."""

    def __init__(self, examples: Examples, pool: Examples, found: Neighbours) -> None:
        self.examples, self.pool, self.found = examples, pool, found

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, number: int) -> PackedExample:
        if not -len(self) <= number < len(self):
            raise IndexError(f"example {number} does not exist: there are {len(self)}")
        own = self.examples.batch(torch.tensor([number % len(self)]))
        near = self.pool.batch(self.found.nodes[number])
        return PackedExample(own.x[0], own.y[0], near.x, self.found.weights[number])


@typed
def pack_neighbours(
    examples: Examples,
    graph: Graph,
    neighbours: int,
    *,
    pool: Examples | None = None,
    nodes: Tensor | None = None,
) -> Packed:
    """Joins examples and their neighbours.

    Args:
        examples: labelled ones, one item each.
        graph: edges between examples of the pool, by their numbers there; use ``undirected()`` if an edge counts in
            both directions.
        neighbours: number of neighbours of each, >= 1.
        pool: source of the neighbours, labelled and unlabelled examples; its labels are not used. None: the examples
            themselves.
        nodes: numbers of the examples in the pool (N,); None: the first N.

    Raises: ValueError for a pool or numbers that do not fit the graph or the examples.
    """
    whole = examples if pool is None else pool
    rows = _rows(graph, len(whole), len(examples), nodes)
    return Packed(examples, whole, graph.neighbours(neighbours, of=rows))


@typed
@dataclass(frozen=True, eq=False)
class GraphRegularization:
    """Training on examples and for similar outputs on their neighbours; a recipe for ``training.fit``.

        loss = loss(f(x), y) + multiplier * reduction of w_ij distance(f(x_i), f(neighbour j of x_i))

    The sum is over the edges of the batch, and of further examples of the pool if ``unlabelled`` is positive. Missing
    neighbours cost no pass.

    Args:
        pool: source of the neighbours; its labels are not used.
        graph: edges between examples of the pool.
        neighbours: number of neighbours of each example, >= 1; the original's default of 0 means no regularization.
        nodes: numbers of the training examples in the pool (N,); None: the first N.
        multiplier: weight of the graph loss, >= 0; 0 gives exactly the plain loss.
        unlabelled: number of examples of the pool, drawn anew at each step, per example of the batch, so that edges
            between unlabelled examples count as well; 0, as in the original: none.
        graph_loss: distance, reduction, and outputs that get a gradient.
        loss: per example.
        bn_mode: mode of BatchNorm in the pass over neighbours, as in ``AdversarialRegularization``.

    Raises: ValueError for values that do not fit.
    """

    pool: Examples = field(repr=False)
    graph: Graph = field(repr=False)
    neighbours: int
    nodes: Tensor | None = field(default=None, repr=False)
    multiplier: float = 0.01
    unlabelled: int = 0
    graph_loss: GraphLoss = field(default_factory=GraphLoss)
    loss: Loss = cross_entropy
    bn_mode: BnMode = "train"
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.multiplier >= 0:
            raise ValueError(f"multiplier is the weight of a loss, >= 0, got {self.multiplier}")
        if self.unlabelled < 0:
            raise ValueError(f"unlabelled is the number of examples per labelled one, >= 0, got {self.unlabelled}")
        rows = _rows(self.graph, len(self.pool), len(self.pool) if self.nodes is None else len(self.nodes), self.nodes)
        object.__setattr__(self, "_tables", _Tables(rows, self.graph.neighbours(self.neighbours)))

    def __repr__(self) -> str:
        digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in (self._at.rows, *self._at.table)))
        settings = f"{self.neighbours}, {self.multiplier}, {self.unlabelled}, {self.graph_loss}, {self.bn_mode!r}"
        return f"GraphRegularization({self.pool.name}, {len(self.pool)}, {digest.hexdigest()[:16]}, {settings})"

    @property
    def _at(self) -> _Tables:
        return cast(_Tables, self.__dict__["_tables"])

    def init(self, model: nn.Module) -> RecipeState:
        """An empty state."""
        del model
        return {}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Callable[[Tensor], None]) -> Metrics:
        """One pass over the batch and one over its neighbours."""
        del state
        logits: Logits = model(batch.x)
        base = mean_loss(labelled(self.loss, logits, batch.y))
        if not self.multiplier:
            backward(base)
            return measured(logits, base, batch.y)
        nodes, outputs = self._at.rows[batch.ids.cpu()], logits
        if self.unlabelled:
            drawn = Streams(batch.seed, batch.ids).fork(_DRAWN).integers(len(self.pool), (self.unlabelled,))
            nodes = torch.cat([nodes, drawn.flatten().cpu()])
            outputs = torch.cat([logits, self.outputs_of(model, nodes[len(logits) :], batch)])
        apart = self.graph_loss(outputs, *self.neighbour_outputs(model, nodes, batch, outputs))
        total = base + self.multiplier * apart
        backward(total)
        return measured(logits, total, batch.y, base_loss=base, graph_loss=apart)

    def neighbour_outputs(
        self, model: nn.Module, nodes: Tensor, batch: Batch, outputs: Logits
    ) -> tuple[Logits, Tensor]:
        """Outputs for the neighbours of nodes (N, K, D), and the weights of the edges (N, K)."""
        weights = self._at.table.weights[nodes]
        there = weights != 0
        near = outputs.detach()[:, None].repeat(1, weights.shape[1], 1)
        if bool(there.any()):
            near[there.to(near.device)] = self.outputs_of(model, self._at.table.nodes[nodes][there], batch).to(
                near.dtype
            )
        return near, weights.to(near)

    def outputs_of(self, model: nn.Module, nodes: Tensor, batch: Batch) -> Logits:
        """Outputs for some nodes (N, D)."""
        with passing(model, self.bn_mode):
            logits: Logits = model(self.inputs(nodes, batch))
        return logits

    def inputs(self, nodes: Tensor, batch: Batch) -> Images:
        """Neighbours in the form of the batch."""
        x = self.pool.batch(nodes).x.to(batch.x)
        channels_last = x.ndim == 4 and batch.x.is_contiguous(memory_format=torch.channels_last)
        return x.contiguous(memory_format=torch.channels_last) if channels_last else x


class _Tables(NamedTuple):
    """Tables that the recipe uses at each step."""

    rows: Tensor
    """Number in the pool of each training example."""
    table: Neighbours
    """Neighbours of all examples of the pool."""


def _rows(graph: Graph, pool: int, examples: int, nodes: Tensor | None) -> Tensor:
    """Numbers of the examples in the pool."""
    if graph.nodes != pool:
        raise ValueError(f"a graph of {graph.nodes} nodes does not fit a pool of {pool} examples")
    rows = torch.arange(examples) if nodes is None else nodes
    if len(rows) != examples or (examples and not 0 <= int(rows.min()) <= int(rows.max()) < pool):
        raise ValueError(f"{examples} examples need as many numbers in the pool of {pool}, got {len(rows)}")
    return rows
