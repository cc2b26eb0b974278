"""Every score of logits that are masked, infinite, huge, tied or all alike: finite, with finite gradients, in order."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from robustlab.attacks.ranked import ahead, gap, targeted_dlr
from robustlab.core import Score, cross_entropy, dlr, kl, margin, misclassified
from robustlab.core.losses import answerable
from robustlab.evaluation.doctor.gradients import relative_margin

DTYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
CLASSES = pytest.mark.parametrize("classes", [2, 3, 4, 10])
INF = float("inf")
PARTS = [
    [0.0, 0.0], [1.0, 1.0], [2.0, 1.0], [1.0, 2.0], [-INF, 0.0], [0.0, -INF], [INF, 0.0], [0.0, INF], [INF, INF],
    [-INF, -INF], [-INF, INF], [1e30, -1e30], [-1e30, 1e30], [1e30, 1e30], [1e38, -3e38], [6e4, -6e4], [1.0, 1.001],
    [1e-7, 0.0], [0.0, 1e-7],
]  # fmt: skip
LABELLED: list[Score] = [cross_entropy, margin, dlr]
FAR = torch.finfo(torch.float32).max / 4


def table(classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits (N, K): the first two are each of the pairs, the others of several kinds; each row with each label."""
    rest = [[-INF], [0.0], [1.0, -INF], [-1e30, 1e30], [INF], [-2.0, -INF, -INF]]
    rows = [pair + list(itertools.islice(itertools.cycle(others), classes - 2)) for pair in PARTS for others in rest]
    logits = torch.tensor(rows, dtype=torch.float64)
    infinite = logits.isinf()
    logits = logits.clamp(-torch.finfo(dtype).max, torch.finfo(dtype).max).where(~infinite, logits).to(dtype)
    y = torch.arange(classes).repeat_interleave(len(logits))
    return logits.repeat(classes, 1), y


@DTYPES
@CLASSES
@pytest.mark.parametrize("score", LABELLED, ids=repr)
def test_scores_and_their_gradients_are_finite(score: Score, classes: int, dtype: torch.dtype) -> None:
    logits, y = table(classes, dtype)
    logits.requires_grad_()
    found = score(logits, y)
    (grad,) = torch.autograd.grad(found.sum(), logits)
    assert found.isfinite().all()
    assert grad.isfinite().all()


@DTYPES
@CLASSES
@pytest.mark.parametrize("score", [gap, ahead, targeted_dlr], ids=repr)
def test_scores_of_targets_and_their_gradients_are_finite(score: Score, classes: int, dtype: torch.dtype) -> None:
    logits, y = table(classes, dtype)
    for shift in (1, classes - 1):
        z = logits.clone().requires_grad_()
        found = score(z, torch.stack([y, (y + shift) % classes], dim=1))
        (grad,) = torch.autograd.grad(found.sum(), z)
        assert found.isfinite().all()
        assert grad.isfinite().all()


@DTYPES
@CLASSES
def test_divergences_of_any_two_answers_are_finite(classes: int, dtype: torch.dtype) -> None:
    logits, _ = table(classes, dtype)
    for reference in (logits, logits.flip(0), torch.zeros_like(logits)):
        z = logits.clone().requires_grad_()
        found = kl(z, reference)
        (grad,) = torch.autograd.grad(found.sum(), z)
        assert (found > -1e-6).all()
        assert found.isfinite().all()
        assert grad.isfinite().all()
    assert kl(logits, logits).abs().max() == 0


@DTYPES
@CLASSES
@pytest.mark.parametrize("score", [margin, dlr, relative_margin], ids=repr)
def test_the_sign_of_the_margin_is_the_verdict_and_only_ties_are_zero(
    score: Score, classes: int, dtype: torch.dtype
) -> None:
    logits, y = table(classes, dtype)
    z = logits.double()
    own, lead = z.gather(1, y[:, None])[:, 0], z.scatter(1, y[:, None], -INF).amax(1)
    apart = own.clamp(-FAR, FAR) != lead.clamp(-FAR, FAR)
    found = score(logits, y)
    assert torch.equal((found > 0)[apart], misclassified(logits, y)[apart])
    assert (found[~apart] == 0).all()
    assert torch.equal(misclassified(logits, y), torch.tensor([row.index(max(row)) for row in logits.tolist()]) != y)


@DTYPES
@pytest.mark.parametrize("mask", [-INF, None], ids=["-inf", "smallest"])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_masked_classes_count_as_if_they_were_not_there(classes: int, mask: float | None, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(3)
    few = (3 * torch.randn(40, classes, generator=draw, dtype=torch.float64)).to(dtype)
    y = torch.randint(classes, (40,), generator=draw)
    many = torch.full((40, 10), torch.finfo(dtype).min if mask is None else mask, dtype=dtype)
    places = torch.tensor([1, 4, 6, 7])[:classes]
    many[:, places] = few
    pair = torch.stack([y, (y + 1) % classes], dim=1)
    for score in (*LABELLED, relative_margin):
        assert torch.equal(score(many, places[y]), score(few, y)), score
    for score in (gap, ahead, targeted_dlr):
        assert torch.equal(score(many, places[pair]), score(few, pair)), score
    assert torch.allclose(kl(many, many.flip(0)), kl(few, few.flip(0)), rtol=1e-6, atol=1e-6)
    assert answerable(many).sum(1).eq(classes).all()


@pytest.mark.parametrize("score", [*LABELLED, kl], ids=repr)
def test_nan_stays_nan(score: Score) -> None:
    logits = torch.tensor([[torch.nan, 1.0, 2.0], [0.0, torch.nan, -INF], [0.0, 1.0, 2.0]])
    truth = torch.zeros_like(logits) if score == kl else torch.tensor([1, 0, 1])
    assert score(logits, truth).isnan().tolist() == [True, True, False]
