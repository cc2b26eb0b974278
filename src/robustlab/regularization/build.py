"""Graphs of similar examples from embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from robustlab.core import subset
from robustlab.core.kinds import typed
from robustlab.regularization.distance import unit_length
from robustlab.regularization.graph import Graph

Method: TypeAlias = Literal["exact", "approximate"]
"""All pairs, or what an index of faiss finds."""
MOST_EDGES = 50_000_000
"""More are refused by default: about 1 GiB."""
_BLOCK = 64 * 2**20
"""Similarities that are held at a time."""
_SAMPLED = 256
"""Nodes whose neighbours stand for those of all when edges are estimated."""
_SLACK = 1e-5
"""By which a similarity may be off in float32 before it is computed in float64."""


@typed
def build_graph(
    embeddings: Tensor,
    threshold: float = 0.8,
    *,
    top_k: int | None = None,
    method: Method = "exact",
    names: tuple[str, ...] | None = None,
    most_edges: int = MOST_EDGES,
) -> Graph:
    """Connects examples with similar embeddings.

        edge i -> j  if  cos(e_i, e_j) >= threshold,  i != j;  its weight is the cosine

    Computed in blocks of bounded memory on the device of the embeddings, in float32, and in float64 near the threshold.
    Edges go in both directions, unless ``top_k`` leaves one out.

    Args:
        embeddings: one per example (N, D), any float dtype.
        threshold: smallest cosine of an edge, in [-1, 1].
        top_k: number of strongest edges that a node keeps; None: all.
        method: "exact" compares all pairs; "approximate" uses an index of the library faiss, which misses some and
            needs ``top_k``: for some hundred thousand examples and more.
        names: of the examples, in files; None: their numbers.
        most_edges: refuses a larger graph before it is built, by an estimate from a sample of nodes.

    Returns: the graph, on the CPU.

    Raises:
        ValueError: invalid values, or more edges than allowed, with the estimate.
        ImportError: for "approximate", if faiss is not installed.

    Source: as in Neural Structured Learning 1.4.0; "approximate" replaces its locality-sensitive hashing.
    """
    if embeddings.ndim != 2 or not embeddings.is_floating_point() or not bool(embeddings.isfinite().all()):
        raise ValueError(f"embeddings are finite floats (N, D), got {embeddings.dtype} {tuple(embeddings.shape)}")
    if not -1 <= threshold <= 1:
        raise ValueError(f"the threshold is a cosine, in [-1, 1], got {threshold}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is a number of neighbours, at least 1, got {top_k}")
    rows = unit_length(embeddings.detach().double())
    if method == "approximate":
        from robustlab.regularization.nearest import approximate

        found = approximate(rows, threshold, top_k)
    elif method == "exact":
        expected = estimated_edges(rows, threshold, top_k)
        if expected > most_edges:
            raise ValueError(
                f"a threshold of {threshold} would make about {expected:,.0f} edges, more than {most_edges:,}: raise "
                f"it, keep fewer with top_k, or allow more with most_edges"
            )
        found = _joined(_blocks(rows, threshold, top_k))
    else:
        raise ValueError(f"there is no method {method!r}: choose exact or approximate")
    source, target, weight = (part.cpu() for part in found)
    return Graph(source, target, weight, len(rows), names)


def estimated_edges(rows: Tensor, threshold: float, top_k: int | None = None) -> float:
    """Estimated number of edges, from the neighbours of a sample of nodes.

    Args:
        rows: of unit length (N, D).
        threshold: smallest cosine of an edge.
        top_k: most edges of a node.
    """
    sample = subset(len(rows), min(_SAMPLED, len(rows)), seed=0).to(rows.device)
    near = rows[sample].float() @ rows.float().T >= threshold
    near[torch.arange(len(sample), device=rows.device), sample] = False
    counts = near.sum(dim=1)
    if top_k is not None:
        counts = counts.clamp_max(top_k)
    return float(counts.double().mean()) * len(rows) if len(rows) else 0.0


Edges: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Sources, targets and weights."""


def _blocks(rows: Tensor, threshold: float, top_k: int | None) -> Iterator[Edges]:
    """Edges, block of nodes by block of nodes."""
    narrow = rows.float()
    height = max(1, _BLOCK // max(len(rows), 1))
    cosines = torch.empty(min(height, len(rows)), len(rows), device=rows.device)
    for begin in range(0, len(rows), height):
        own = torch.arange(begin, min(begin + height, len(rows)), device=rows.device)
        near = torch.mm(narrow[own], narrow.T, out=cosines[: len(own)])
        near[own - begin, own] = -torch.inf
        yield _edges(rows, own, near, threshold, top_k)


def _edges(rows: Tensor, own: Tensor, near: Tensor, threshold: float, top_k: int | None) -> Edges:
    """Edges of a block of similarities, computed again in float64."""
    if top_k is not None and top_k < near.shape[1] - 1:
        # A few more than needed: in float32 the last places may be exchanged.
        value, target = near.topk(min(top_k + 8, near.shape[1] - 1), dim=1)
        source = own[:, None].expand_as(target)
        kept = value >= threshold - _SLACK
        source, target = source[kept], target[kept]
    else:
        at, target = (near >= threshold - _SLACK).nonzero(as_tuple=True)
        source = own[at]
    weight = torch.cat([_cosine(rows, *pair) for pair in zip(source.split(2**18), target.split(2**18), strict=True)])
    kept = weight >= threshold
    source, target, weight = source[kept], target[kept], weight[kept]
    return (source, target, weight.float()) if top_k is None else _first(source, target, weight, top_k)


def _first(source: Tensor, target: Tensor, weight: Tensor, most: int) -> Edges:
    """The strongest edges of each source."""
    order = weight.sort(descending=True, stable=True).indices
    order = order[source[order].sort(stable=True).indices]
    source, target, weight = source[order], target[order], weight[order]
    _, counts = source.unique_consecutive(return_counts=True)
    place = torch.arange(len(source), device=source.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    kept = place < most
    return source[kept], target[kept], weight[kept].float()


def _cosine(rows: Tensor, source: Tensor, target: Tensor) -> Tensor:
    return (rows[source] * rows[target]).sum(dim=1)


def _joined(blocks: Iterator[Edges]) -> Edges:
    parts = list(blocks)
    source, target, weight = (torch.cat([part[i] for part in parts]) for i in range(3))
    return source, target, weight
