"""Likely label errors by confident learning, from probabilities on examples outside the training sets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core import Labels
from robustlab.data.memory import check_labels

_EVEN = 1e-6  # a probability that reaches its class's mean up to rounding reaches it


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """Suspected label errors, and the estimates behind them.

    Args:
        ids: numbers of the suspected examples (S,), int64, the most suspicious first.
        suggested: the most likely class of each (S,), int64.
        margins: probability of that class minus that of the label (S,), descending.
        thresholds: mean probability of a class on its own examples (K,); infinite for a class without any.
        joint: estimated fraction of examples with label i that are truly of class j (K, K); the sum of all is 1.
    """

    ids: Tensor
    suggested: Tensor
    margins: Tensor
    thresholds: Tensor
    joint: Tensor

    @property
    def fraction(self) -> float:
        """The estimated fraction of wrong labels."""
        return float(self.joint.sum() - self.joint.trace())


def label_errors(probs: Tensor, y: Labels) -> LabelErrors:
    """Finds labels that are likely wrong.

        t_j   = mean of p_j(x) over the examples with label j
        C_ij  = number of examples with label i whose most likely class among those with p_j(x) >= t_j is j
        Q_ij  = C_ij / sum_j C_ij * fraction of label i, normalised to the sum 1

    For each i != j the round(N Q_ij) examples with label i that have the largest margins p_j(x) - p_i(x) are suspected,
    if their label is not the most likely class.

    A class on which a model is generally confident has a high threshold, so that neither over-confident models nor
    similar classes fill the list by themselves. The method does not know the reason for confidence: a correct label
    that models get wrong with confidence is suspected as well.

    Args:
        probs: probability of each class (N, K), floating point, by models that were not trained on these examples.
        y: labels (N,), int64 in 0..K-1.

    Returns: the suspected examples and the estimates.
    Raises: ValueError for invalid probabilities, or labels that do not fit them.

    Example:
        >>> sure = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9], [0.05, 0.95]])
        >>> label_errors(sure, torch.tensor([0, 0, 1, 1, 0])).ids
        tensor([4])

    Source: Northcutt, Jiang, Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021, equations
    1 to 3; examples are chosen by its "prune by noise rate".
    """
    p = _checked(probs, y)
    thresholds, confident = _confident(p, y)
    joint = _joint(confident, y)
    wanted = _rounded(joint * len(y), y.bincount(minlength=p.shape[1]))
    margins = p - p.gather(1, y[:, None])
    suspected = torch.zeros(len(y), dtype=torch.bool)
    for i, j in (wanted.fill_diagonal_(0) > 0).nonzero().tolist():
        rows = (y == i).nonzero()[:, 0]
        suspected[rows[margins[rows, j].argsort(descending=True, stable=True)[: int(wanted[i, j])]]] = True
    best, likely = margins.max(dim=1)
    ids = (suspected & (likely != y)).nonzero()[:, 0]
    ids = ids[best[ids].argsort(descending=True, stable=True)]
    return LabelErrors(ids, likely[ids], best[ids], thresholds, joint)


def _checked(probs: Tensor, y: Labels) -> Tensor:
    """The probabilities in double precision."""
    if probs.ndim != 2 or probs.shape[1] < 2 or not probs.is_floating_point():
        raise ValueError(
            f"probabilities of shape {tuple(probs.shape)} {probs.dtype}: give floats (N, K), a row for each example"
        )
    check_labels(y, *probs.shape)
    p = probs.double()
    if not bool((p >= 0).all()) or not bool(((p.sum(dim=1) - 1).abs() < 1e-3).all()):
        raise ValueError("these are no probabilities: each row must be 0 or more and sum to 1; logits need softmax")
    return p


def _confident(p: Tensor, y: Labels) -> tuple[Tensor, Tensor]:
    """Thresholds (K,), and counts of label i with confidence in class j (K, K)."""
    classes = p.shape[1]
    counts = y.bincount(minlength=classes)
    sums = torch.zeros(classes, dtype=p.dtype).index_add_(0, y, p.gather(1, y[:, None])[:, 0])
    thresholds = torch.where(counts > 0, sums / counts, torch.inf)
    reached = p >= thresholds - _EVEN
    of_class = p.masked_fill(~reached, -1).argmax(dim=1)
    sure = reached.any(dim=1)
    cells = y[sure] * classes + of_class[sure]
    return thresholds, cells.bincount(minlength=classes * classes).view(classes, classes)


def _joint(confident: Tensor, y: Labels) -> Tensor:
    """Counts (K, K) scaled to the frequencies of the labels; an empty row counts as correct labels."""
    counts = confident.double()
    counts.diagonal().clamp_(min=1)
    shares = y.bincount(minlength=len(counts)).double() / len(y)
    return counts / counts.sum(dim=1, keepdim=True) * shares[:, None]


def _rounded(joint: Tensor, totals: Tensor) -> Tensor:
    """Counts (K, K) as whole numbers with the row sums ``totals``: those with the largest remainders are rounded up."""
    whole = joint.floor()
    raised = (joint - whole).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (whole + (raised < (totals - whole.sum(dim=1))[:, None])).long()
