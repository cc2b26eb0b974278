"""Graphs of examples: edges with weights, and the nearest neighbours of each node as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.core import DataError
from robustlab.core.kinds import typed
from robustlab.regularization.distance import finite_weights
from robustlab.runs.files import replace_atomically


class Neighbours(NamedTuple):
    """Neighbours of some nodes, as a table with rows of equal length."""

    nodes: Tensor
    """Numbers of the neighbours (N, K), int64, the strongest first; the node itself where there are no more."""
    weights: Tensor
    """Weights of these edges (N, K), float32; 0 for padding."""


@typed
@dataclass(frozen=True, eq=False)
class Graph:
    """Weighted edges between nodes 0..n-1.

    Args:
        source: of each edge (E,), int64.
        target: of each edge (E,), int64; the neighbour.
        weight: of each edge (E,), float.
        nodes: number of nodes.
        names: of the nodes, in files; None: their numbers.

    Raises: ValueError for edges of missing nodes, parts of different lengths, and weights that are NaN or infinite.
    """

    source: Tensor
    target: Tensor
    weight: Tensor
    nodes: int
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.source.shape == self.target.shape == self.weight.shape or self.source.ndim != 1:
            shapes = [tuple(part.shape) for part in (self.source, self.target, self.weight)]
            raise ValueError(f"an edge has a source, a target and a weight, got {shapes}")
        for ends in (self.source, self.target):
            if ends.is_floating_point() or ends.dtype == torch.bool:
                raise ValueError(f"ends of edges are numbers of nodes, int64, got {ends.dtype}")
            if len(ends) and not 0 <= int(ends.min()) <= int(ends.max()) < self.nodes:
                raise ValueError(f"edges of nodes {int(ends.min())} to {int(ends.max())} among {self.nodes}")
        finite_weights(self.weight)
        if self.names is not None and len(self.names) != self.nodes:
            raise ValueError(f"{len(self.names)} names for {self.nodes} nodes")

    def __len__(self) -> int:
        """Number of edges."""
        return len(self.source)

    def undirected(self) -> Graph:
        """The graph with each edge in both directions; of several weights the largest counts."""
        source, target = torch.cat([self.source, self.target]), torch.cat([self.target, self.source])
        both = Graph(source, target, self.weight.repeat(2), self.nodes, self.names)
        return both.kept(both._strongest_first())

    def kept(self, edges: Tensor) -> Graph:
        """The graph of some of the edges, by number or mask."""
        return Graph(self.source[edges], self.target[edges], self.weight[edges], self.nodes, self.names)

    def neighbours(self, most: int, *, of: Tensor | None = None) -> Neighbours:
        """The strongest neighbours of nodes.

        Edges have a direction: an edge from a to b makes b a neighbour of a (see ``undirected``). Among equal weights
        the larger name or number comes first; of several edges between two nodes the strongest counts.

        Args:
            most: number of neighbours of each, >= 1.
            of: numbers of the nodes (N,); None: all.

        Raises: ValueError for fewer than one neighbour, which would be no regularization.
        """
        if most < 1:
            raise ValueError(f"a graph with {most} neighbours regularises nothing: use one or more")
        ordered = self.kept(self._strongest_first())
        counts = torch.bincount(ordered.source, minlength=self.nodes)
        place = torch.arange(len(ordered)) - (counts.cumsum(0) - counts)[ordered.source]
        few = place < most
        nodes = torch.arange(self.nodes)[:, None].repeat(1, most)
        weights = torch.zeros(self.nodes, most)
        at = (ordered.source[few], place[few])
        nodes[at], weights[at] = ordered.target[few], ordered.weight[few].float()
        return Neighbours(nodes, weights) if of is None else Neighbours(nodes[of], weights[of])

    def _strongest_first(self) -> Tensor:
        """Numbers of the edges by source, then by falling weight and name, each pair of nodes once."""
        order = torch.arange(len(self))
        for key in (self._rank()[self.target], self.weight, -self.source):
            order = order[key[order].sort(descending=True, stable=True).indices]
        pair = self.source[order] * self.nodes + self.target[order]
        _, inverse = pair.unique(return_inverse=True)
        first = torch.full((int(inverse.max()) + 1 if len(order) else 0,), len(order))
        first.scatter_reduce_(0, inverse, torch.arange(len(order)), "amin")
        return order[first.sort().values]

    def _rank(self) -> Tensor:
        """The rank of each node, by name."""
        if self.names is None:
            return torch.arange(self.nodes)
        rank = torch.empty(self.nodes, dtype=torch.int64)
        rank[sorted(range(self.nodes), key=self.names.__getitem__)] = torch.arange(self.nodes)
        return rank


@typed
def write_graph(graph: Graph, path: str | Path) -> None:
    """Writes a graph in the original's format: a line ``source TAB target TAB weight`` for each edge, weights as "%f".

    Raises: OSError if the file cannot be written; an existing one then stays unchanged.
    """
    names = graph.names or tuple(map(str, range(graph.nodes)))
    edges = zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), strict=True)

    def fill(part: Path) -> None:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(f"{names[a]}\t{names[b]}\t{weight:f}\n" for a, b, weight in edges)

    replace_atomically(Path(path), fill)


@typed
def read_graph(path: str | Path, names: tuple[str, ...] | None = None) -> Graph:
    """Reads a graph that ``write_graph`` or the original's ``build_graph`` wrote.

    Args:
        path: of a file with lines ``source TAB target TAB weight``; a missing weight is 1.
        names: of the nodes, in their order; edges of others are left out. None: those in the file, sorted.

    Raises: DataError for a missing file, or with the first invalid line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a graph: {error}") from error
    edges = [_edge(line, number, path) for number, line in enumerate(lines, start=1) if line.strip()]
    known = names or tuple(sorted({name for a, b, _ in edges for name in (a, b)}))
    number = {name: place for place, name in enumerate(known)}
    inside = [(number[a], number[b], weight) for a, b, weight in edges if a in number and b in number]
    table = torch.tensor(inside, dtype=torch.float64).reshape(-1, 3)
    return Graph(table[:, 0].long(), table[:, 1].long(), table[:, 2].float(), len(known), known)


def _edge(line: str, number: int, path: str | Path) -> tuple[str, str, float]:
    words = line.rstrip("\n").split("\t")
    try:
        source, target, weight = (*words, "1.0") if len(words) == 2 else words
        found = source, target, float(weight)
    except ValueError as error:
        raise DataError(
            f"{path}, line {number}: an edge is source, target and weight with tabs between, got {line!r}"
        ) from error
    if not abs(found[2]) <= torch.finfo(torch.float32).max:
        raise DataError(f"{path}, line {number}: the weight of an edge is a finite number, got {line!r}")
    return found
