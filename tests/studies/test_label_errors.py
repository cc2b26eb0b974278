"""Confident learning: planted noise is found, as by hand and by another implementation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robustlab.studies.mining import label_errors
from robustlab.studies.mining.label_errors import _rounded


def planted(
    *, n: int = 3000, classes: int = 4, noise: float = 0.1, clear: float = 4.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities from the true class, labels some of which were moved by one class, and a mask of these."""
    g = torch.Generator().manual_seed(n + classes)
    true = torch.randint(classes, (n,), generator=g)
    logits = torch.randn(n, classes, generator=g)
    logits[torch.arange(n), true] += clear
    moved = torch.rand(n, generator=g) < noise
    return logits.softmax(dim=1), torch.where(moved, (true + 1) % classes, true), moved


def test_planted_noise_is_found() -> None:
    probs, y, moved = planted()
    found = label_errors(probs, y)
    flagged = torch.zeros(len(y), dtype=torch.bool)
    flagged[found.ids] = True
    assert (flagged & moved).sum() >= 0.95 * flagged.sum()  # precision
    assert (flagged & moved).sum() >= 0.95 * moved.sum()  # recall
    assert abs(found.fraction - float(moved.float().mean())) < 0.01
    assert torch.equal(found.suggested, probs[found.ids].argmax(dim=1))
    assert bool((found.margins.diff() <= 0).all())


def test_the_direction_of_the_noise_is_found() -> None:
    probs, y, _ = planted()
    joint = label_errors(probs, y).joint
    off = joint - joint.diag().diag()
    assert off.argmax(dim=1).tolist() == [3, 0, 1, 2]  # what is labelled k is truly of the class before
    assert joint.sum() == pytest.approx(1.0)
    torch.testing.assert_close(joint.sum(dim=1), y.bincount().double() / len(y))


def test_clean_labels_are_hardly_suspected() -> None:
    probs, y, _ = planted(noise=0.0)
    assert len(label_errors(probs, y).ids) < 0.01 * len(y)


def test_a_class_that_models_are_unsure_of_is_not_suspected_for_that() -> None:
    """Errors on examples in between two classes do not reach the threshold of the other class."""
    y = torch.tensor([0] * 50 + [1] * 50)
    first = torch.tensor([0.9] * 40 + [0.45] * 10 + [0.1] * 50)
    assert label_errors(torch.stack([first, 1 - first], dim=1), y).ids.tolist() == []


def test_by_hand() -> None:
    """Thresholds 0.65 and 0.8; example 3 is surely of class 1, example 6 is between the classes."""
    first = torch.tensor([0.9, 0.8, 0.8, 0.1, 0.2, 0.1, 0.3], dtype=torch.float64)
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    found = label_errors(torch.stack([first, 1 - first], dim=1), y)
    assert found.thresholds.tolist() == pytest.approx([0.65, 0.8])
    assert found.ids.tolist() == [3]
    assert found.suggested.tolist() == [1]
    assert found.margins.tolist() == pytest.approx([0.8])
    assert found.joint.tolist() == [pytest.approx([3 / 7, 1 / 7]), pytest.approx([0, 3 / 7])]


def test_counts_are_rounded_so_that_each_class_keeps_its_size() -> None:
    counts = torch.tensor([[2.6, 0.2, 0.2], [0.5, 1.2, 1.3], [0.0, 0.0, 4.0]])
    assert _rounded(counts, torch.tensor([3, 3, 4])).tolist() == [[3, 0, 0], [1, 1, 1], [0, 0, 4]]


def test_a_class_without_examples_is_never_suggested() -> None:
    probs, y, _ = planted(classes=4)
    wider = torch.cat([probs * 0.99, torch.full((len(y), 1), 0.01)], dim=1)
    found = label_errors(wider, y)
    assert found.thresholds[4] == torch.inf
    assert found.suggested.max() < 4
    assert found.joint[4].sum() == 0


@pytest.mark.parametrize(
    ("probs", "y", "message"),
    [
        (torch.randn(4, 3), torch.zeros(4).long(), "these are no probabilities"),
        (torch.ones(4, 3), torch.zeros(4).long(), "these are no probabilities"),
        (torch.ones(4), torch.zeros(4).long(), r"probabilities of shape \(4,\)"),
        (torch.full((4, 2), 0.5), torch.full((4,), 2), "labels run from 2 to 2, but with 2 classes"),
        (torch.full((4, 2), 0.5), torch.zeros(3).long(), r"labels of shape \(3,\) for 4 inputs"),
    ],
)
def test_invalid_probabilities_and_labels_are_refused(probs: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_errors(probs, y)
