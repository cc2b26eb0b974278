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
from robustlab.regularization.adversarial import Loss, NormMode, labelled, mean_loss, passing
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
    """Of the edges to them (K,); 0 where there are no more."""


class Packed(Dataset[PackedExample]):
    """What ``pack_neighbours`` makes; a loader stacks its items as they are."""

    def __init__(self, examples: Examples, pool: Examples, found: Neighbours) -> None:
        self.examples, self.pool, self.found = examples, pool, found

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, number: int) -> PackedExample:
        if not -len(self) <= number < len(self):
            raise IndexError(f"there are {len(self)} examples, not one of number {number}")
        own = self.examples.batch(torch.tensor([number % len(self)]))
        beside = self.pool.batch(self.found.nodes[number])
        return PackedExample(own.x[0], own.y[0], beside.x, self.found.weights[number])


@typed
def pack_neighbours(
    examples: Examples,
    graph: Graph,
    neighbours: int,
    *,
    pool: Examples | None = None,
    nodes: Tensor | None = None,
) -> Packed:
    """Puts examples and their neighbours together.

    Args:
        examples: labelled ones, one item each.
        graph: edges between examples of the pool, which are called by their number there; ``undirected()`` it if an
            edge is to count both ways.
        neighbours: how many of each, >= 1.
        pool: what neighbours are taken from, whose labels are not looked at: labelled and unlabelled examples. None:
            the examples themselves.
        nodes: numbers of the examples in the pool (N,); None: the first N.

    Raises: ValueError for a pool or numbers that do not fit the graph or the examples.
    """
    whole = examples if pool is None else pool
    rows = _rows(graph, len(whole), len(examples), nodes)
    return Packed(examples, whole, graph.neighbours(neighbours, of=rows))


@typed
@dataclass(frozen=True, eq=False)
class GraphRegularization:
    """Training on examples, and on saying alike of them and their neighbours; a recipe for ``training.fit``.

        loss = loss(f(x), y) + multiplier * reduction of w_ij distance(f(x_i), f(neighbour j of x_i))

    The sum is over the edges of the batch, and of more examples of the pool if ``unlabelled`` asks for some. Neighbours
    that are not there cost no pass.

    Args:
        pool: what neighbours are taken from; its labels are not looked at.
        graph: edges between examples of the pool.
        neighbours: how many of each example, >= 1; the original's default of 0 switches the regulariser off.
        nodes: numbers of the training examples in the pool (N,); None: the first N.
        multiplier: weight of the graph loss, >= 0; with 0 the plain loss is left, bit for bit.
        unlabelled: how many examples of the pool, drawn anew at each step, go with each of the batch, so that the
            edges between examples without label count as well; 0, as in the original: none.
        graph_loss: distance, reduction, and through which outputs the gradient goes.
        loss: per example.
        norm_mode: what norm layers do in the pass over neighbours, as in ``AdversarialRegularization``.

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
    norm_mode: NormMode = "train"
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.multiplier >= 0:
            raise ValueError(f"multiplier is the weight of a loss, >= 0, got {self.multiplier}")
        if self.unlabelled < 0:
            raise ValueError(f"unlabelled is how many examples go with each labelled one, >= 0, got {self.unlabelled}")
        rows = _rows(self.graph, len(self.pool), len(self.pool) if self.nodes is None else len(self.nodes), self.nodes)
        object.__setattr__(self, "_known", _Known(rows, self.graph.neighbours(self.neighbours)))

    def __repr__(self) -> str:
        digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in (self._at.rows, *self._at.table)))
        settings = f"{self.neighbours}, {self.multiplier}, {self.unlabelled}, {self.graph_loss}, {self.norm_mode!r}"
        return f"GraphRegularization({self.pool.name}, {len(self.pool)}, {digest.hexdigest()[:16]}, {settings})"

    @property
    def _at(self) -> _Known:
        return cast(_Known, self.__dict__["_known"])

    def init(self, model: nn.Module) -> RecipeState:
        """Nothing is remembered from step to step."""
        del model
        return {}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Callable[[Tensor], None]) -> Metrics:
        """One pass over the batch and one over the neighbours that there are."""
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
            outputs = torch.cat([logits, self.said(model, nodes[len(logits) :], batch)])
        apart = self.graph_loss(outputs, *self.beside(model, nodes, batch, outputs))
        total = base + self.multiplier * apart
        backward(total)
        return measured(logits, total, batch.y, base_loss=base, graph_loss=apart)

    def beside(self, model: nn.Module, nodes: Tensor, batch: Batch, outputs: Logits) -> tuple[Logits, Tensor]:
        """What the model says of the neighbours of nodes (N, K, D), and the weights of the edges (N, K)."""
        weights = self._at.table.weights[nodes]
        there = weights != 0
        beside = outputs.detach()[:, None].repeat(1, weights.shape[1], 1)
        if bool(there.any()):
            beside[there.to(beside.device)] = self.said(model, self._at.table.nodes[nodes][there], batch).to(
                beside.dtype
            )
        return beside, weights.to(beside)

    def said(self, model: nn.Module, nodes: Tensor, batch: Batch) -> Logits:
        """What the model says of some nodes (N, D)."""
        with passing(model, self.norm_mode):
            logits: Logits = model(self.inputs(nodes, batch))
        return logits

    def inputs(self, nodes: Tensor, batch: Batch) -> Images:
        """Neighbours in the form of the batch."""
        x = self.pool.batch(nodes).x.to(batch.x)
        channels_last = x.ndim == 4 and batch.x.is_contiguous(memory_format=torch.channels_last)
        return x.contiguous(memory_format=torch.channels_last) if channels_last else x


class _Known(NamedTuple):
    """What a recipe looks up at each step."""

    rows: Tensor
    """Number in the pool of each training example."""
    table: Neighbours
    """Of all examples of the pool."""


def _rows(graph: Graph, pool: int, examples: int, nodes: Tensor | None) -> Tensor:
    """Numbers of the examples in the pool."""
    if graph.nodes != pool:
        raise ValueError(f"a graph of {graph.nodes} nodes does not fit a pool of {pool} examples")
    rows = torch.arange(examples) if nodes is None else nodes
    if len(rows) != examples or (examples and not 0 <= int(rows.min()) <= int(rows.max()) < pool):
        raise ValueError(f"{examples} examples need as many numbers in the pool of {pool}, got {len(rows)}")
    return rows
