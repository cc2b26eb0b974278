"""Stratified folds of examples, drawn by a hash of their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core import Examples, Labels, Streams, fold_in
from robustlab.data.memory import check_labels
from robustlab.data.splits import Part
from robustlab.studies.claim_engine.network import Site

_LABEL = 0xF01D
_READ = 1000  # examples at a time


def dealt(y: Labels, classes: Sequence[str], folds: int, *, seed: int = 0) -> Tensor:
    """Assigns examples to folds of equal size, each with the same fraction of every class, up to one example.

    Args:
        y: labels (N,), int64.
        classes: their names; a class may have no example.
        folds: their number, at least 2.
        seed: of the hash for the order within a class.

    Returns: the fold of each example (N,), int64 in 0..folds-1; the same on every machine.
    Raises: ValueError for too few examples, in total or of one class, or labels that are no classes.
    """
    if folds < 2:
        raise ValueError(f"an example is judged by networks trained on other folds: 2 folds or more, not {folds}")
    if len(y) < folds:
        raise ValueError(f"{len(y)} examples cannot be dealt out to {folds} folds: take fewer folds")
    check_labels(y, len(y), len(classes))
    counts = y.bincount(minlength=len(classes))
    for k, count in enumerate(counts.tolist()):
        if 0 < count < folds:
            raise ValueError(
                f"class {classes[k]!r} has {count} examples, so that it would be absent from some of {folds} folds: "
                "take fewer folds, or leave the class out"
            )
    hashes = Streams(fold_in(seed, _LABEL), torch.arange(len(y))).words(1)[:, 0]
    by_hash = hashes.argsort(stable=True)
    order = by_hash[y[by_hash].argsort(stable=True)]
    fold = torch.empty_like(order)
    fold[order] = torch.arange(len(y)) % folds
    return fold


@dataclass(frozen=True)
class OutsideFold:
    """All examples but those of one fold: the training set of the networks for this fold.

    Args:
        fold: left out, 0..folds-1.
        folds: their number.
        seed: of their draw.
    """

    fold: int
    folds: int
    seed: int = 0

    def examples(self, lab: Site) -> Examples:
        """The examples of all other folds."""
        return self._part(lab.data("train"), inside=False)

    def judged(self, whole: Examples) -> Part:
        """The examples of the fold."""
        return self._part(whole, inside=True)

    def _part(self, whole: Examples, *, inside: bool) -> Part:
        here = dealt(labels(whole), whole.classes, self.folds, seed=self.seed) == self.fold
        name = f"{whole.name} ({'' if inside else 'without '}fold {self.fold + 1} of {self.folds})"
        return Part(name, whole, (here if inside else ~here).nonzero()[:, 0])


def labels(data: Examples) -> Labels:
    """All labels of a data set (N,), read in batches.

    Raises: ValueError for an empty data set.
    """
    if not len(data):
        raise ValueError(f"{data.name} has no examples")
    return torch.cat([data.batch(ids).y for ids in torch.arange(len(data)).split(_READ)])
