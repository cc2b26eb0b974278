"""Approximate nearest neighbours by the library faiss."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_VISITED = 1 / 16
"""Share of the cells of the index that a query looks into."""


def approximate(rows: Tensor, threshold: float, top_k: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Sources, targets and cosines of edges from an inverted-file index.

    Args:
        rows: of unit length (N, D).
        threshold: smallest cosine of an edge.
        top_k: most edges of a node.

    Raises: ValueError without ``top_k``; ImportError if faiss is not installed.
    """
    if top_k is None:
        raise ValueError("an approximate graph needs top_k, the number of neighbours of each example")
    try:
        import faiss
    except ImportError as error:
        raise ImportError("approximate neighbours need faiss: pip install 'robustlab[graph]'") from error
    values = rows.float().cpu().numpy()
    cells = max(1, int(4 * math.sqrt(len(values))) if len(values) >= 10_000 else 1)
    cell_of = faiss.IndexFlatIP(values.shape[1])
    index = faiss.IndexIVFFlat(cell_of, values.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.train(values)
    index.add(values)
    index.nprobe = max(1, math.ceil(cells * _VISITED))
    cosine, target = (torch.from_numpy(part) for part in index.search(values, min(top_k + 1, len(values))))
    source = torch.arange(len(values))[:, None].expand_as(target)
    others = (target != source) & (target >= 0) & (cosine >= threshold)
    first = others & (others.cumsum(dim=1) <= top_k)
    return source[first], target[first], cosine[first]
