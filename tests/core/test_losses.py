from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch import Tensor

from robustlab.core import (
    Score,
    Twin,
    at_target,
    cross_entropy,
    dlr,
    kl,
    margin,
    misclassified,
    targeted,
    unfinished,
    untargeted,
)

CLASSES = pytest.mark.parametrize("classes", [2, 3, 10])
DTYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)


def logits_of(n: int, classes: int, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return (3 * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).to(dtype)


def labels_of(n: int, classes: int) -> Tensor:
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(1))


def by_definition(name: str, z: np.ndarray[tuple[int], np.dtype[np.float64]], y: int) -> float:
    """Croce and Hein's and Carlini and Wagner's formulae for one example, by sorting."""
    wrong = max(value for i, value in enumerate(z) if i != y)
    ordered = sorted(z, reverse=True)
    if name == "cross_entropy":
        return float(-log_softmax(z)[y])
    if name == "margin" or len(z) == 2:
        return float(wrong - z[y])
    return float(-(z[y] - wrong) / (ordered[0] - ordered[2]))


@CLASSES
@DTYPES
@pytest.mark.parametrize("score", [cross_entropy, margin, dlr], ids=repr)
def test_scores_are_those_of_their_definition(score: Score, classes: int, dtype: torch.dtype) -> None:
    logits, y = logits_of(30, classes, dtype=dtype), labels_of(30, classes)
    expected = [by_definition(repr(score), z.double().numpy(), int(label)) for z, label in zip(logits, y, strict=True)]
    ours = score(logits, y)
    assert ours.shape == (30,)
    assert ours.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert ours.tolist() == pytest.approx(expected, rel=1e-12 if dtype == torch.float64 else 1e-4, abs=1e-5)


@CLASSES
def test_kl_is_the_divergence_of_the_reference_from_the_prediction(classes: int) -> None:
    logits, reference = logits_of(30, classes), logits_of(30, classes, seed=1)
    expected = rel_entr(softmax(reference.numpy(), axis=1), softmax(logits.numpy(), axis=1)).sum(axis=1)
    assert kl(logits, reference).tolist() == pytest.approx(expected.tolist())
    assert kl(logits, logits).tolist() == pytest.approx([0.0] * 30, abs=1e-12)
    assert kl(logits.half(), reference.half()).dtype == torch.float32


@CLASSES
@pytest.mark.parametrize("score", [margin, dlr], ids=repr)
def test_margins_are_positive_exactly_where_the_model_is_wrong(score: Score, classes: int) -> None:
    logits, y = logits_of(200, classes), labels_of(200, classes)
    assert torch.equal(score(logits, y) > 0, misclassified(logits, y))


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_dlr_does_not_change_with_the_size_of_the_logits(factor: float) -> None:
    logits, y = logits_of(50, 5), labels_of(50, 5)
    assert dlr(factor * logits + 3, y).tolist() == pytest.approx(dlr(logits, y).tolist())
    assert (dlr(logits, y) >= -1).all()


def test_dlr_of_two_classes_has_a_gradient() -> None:
    logits = logits_of(8, 2).requires_grad_()
    (grad,) = torch.autograd.grad(dlr(logits, labels_of(8, 2)).sum(), logits)
    assert (grad.abs() == 1).all()


@pytest.mark.parametrize("score", [cross_entropy, margin, dlr], ids=repr)
def test_ties_and_large_logits_give_numbers(score: Score) -> None:
    logits = torch.tensor([[2.0, 2.0, 2.0], [1e30, -1e30, 0.0], [0.0, 1e30, 1e30]])
    assert score(logits, torch.tensor([0, 1, 2])).isfinite().all()


def test_success_goes_by_the_first_largest_logit() -> None:
    logits, y = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), torch.tensor([0, 1, 2])
    assert misclassified(logits, y).tolist() == [False, True, False]
    assert at_target(logits, y).tolist() == [True, False, True]
    assert unfinished(logits, y).tolist() == [False, False, False]


def test_scores_are_values_named_after_their_function() -> None:
    assert [repr(score) for score in (cross_entropy, margin, dlr, kl, -kl)] == [
        "cross_entropy", "margin", "dlr", "kl", "-kl",
    ]  # fmt: skip
    assert -margin == -margin
    assert len({margin, dlr, -margin, -margin}) == 3
    assert margin != misclassified


def own_score(logits: Tensor, y: Tensor) -> Tensor:
    return logits.sum(dim=1) - y


OWN = Score(own_score)


@pytest.mark.parametrize("score", [cross_entropy, -margin, OWN, Score(own_score, "mine"), -OWN], ids=repr)
def test_scores_survive_pickling(score: Score) -> None:
    again = pickle.loads(pickle.dumps(score))
    logits, y = logits_of(4, 3), labels_of(4, 3)
    assert again == score
    assert repr(again) == repr(score)
    assert torch.equal(again(logits, y), score(logits, y))


def linear(weight: Tensor) -> Twin:
    model = lambda x: x.flatten(1) @ weight  # noqa: E731
    return Twin(model, model)


def test_objectives_give_score_success_and_gradient_of_each_row() -> None:
    weight, x, y = logits_of(12, 4), logits_of(6, 12, seed=2).reshape(6, 3, 4), labels_of(6, 4)
    logits = x.flatten(1) @ weight
    for objective, sign, reached in (
        (untargeted(linear(weight), y), 1, logits.argmax(1) != y),
        (targeted(linear(weight), y), -1, logits.argmax(1) == y),
    ):
        score, finished, grad = objective.gradient(x)
        assert torch.equal(finished, reached)
        assert torch.allclose(score, sign * cross_entropy(logits, y))
        slope = torch.softmax(logits, 1) - torch.nn.functional.one_hot(y, 4)
        assert torch.allclose(grad, sign * (slope @ weight.T).reshape(6, 3, 4))
        assert all(torch.equal(a, b) for a, b in zip(objective(x), (score, finished), strict=True))
        assert not any(tensor.requires_grad for tensor in (score, grad, x))


def test_objectives_of_some_rows_keep_their_labels() -> None:
    weight, x, y = logits_of(4, 3), logits_of(6, 4, seed=2), labels_of(6, 3)
    rows = torch.tensor([False, True, True, False, False, True])
    objective = untargeted(linear(weight), y, margin)
    assert torch.equal(objective.take(rows)(x[rows])[0], objective(x)[0][rows])


@pytest.mark.parametrize("learnable", [False, True])
def test_a_model_that_ignores_its_input_has_zero_gradient(*, learnable: bool) -> None:
    constant = logits_of(5, 3).requires_grad_(learnable)
    score, _, grad = untargeted(lambda _: constant, labels_of(5, 3)).gradient(logits_of(5, 4))
    assert torch.equal(grad, torch.zeros(5, 4, dtype=torch.float64))
    assert torch.equal(score, cross_entropy(constant, labels_of(5, 3)))


def test_gradients_that_are_no_numbers_become_numbers() -> None:
    objective = untargeted(lambda x: x.sqrt() * torch.tensor([1.0, -1.0]), torch.tensor([1, 1]), margin)
    _, _, grad = objective.gradient(torch.tensor([[0.0, 4.0], [1.0, 4.0]]), stop="never")
    assert grad.isfinite().all()
    assert grad[1].tolist() == [0.5, 0.25]


def test_finished_micro_batches_get_no_gradient_by_default() -> None:
    objective = untargeted(linear(logits_of(4, 3)), torch.zeros(2, dtype=torch.int64))
    x = torch.linalg.lstsq(logits_of(4, 3).T, torch.tensor([[0.0, 5, 0], [0, 0, 5]], dtype=torch.float64).T).solution.T
    _, finished, none = objective.gradient(x)
    _, _, some = objective.gradient(x, stop="never")
    assert finished.all()
    assert not none.any()
    assert some.any()


def test_passes_are_counted_forward_and_backward() -> None:
    twin = linear(logits_of(4, 3))
    objective = untargeted(twin, labels_of(5, 3))
    objective.gradient(logits_of(5, 4))
    objective(logits_of(5, 4))
    twin(logits_of(2, 4))
    assert (twin.passes.forward, twin.passes.backward) == (5 + 5 + 2, 5)


@pytest.mark.parametrize("objective", [untargeted, targeted])
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.tensor([0, -1]), r"class numbers 0..K-1, got -1"),
        (torch.tensor([0.0, 1.0]), r"of dtype int64, got \(2,\) torch.float32"),
        (torch.tensor([0, 1], dtype=torch.int32), r"of dtype int64, got \(2,\) torch.int32"),
        (torch.tensor([[0], [1]]), r"of dtype int64, got \(2, 1\) torch.int64"),
    ],
)
def test_labels_that_are_none_are_refused(objective: type, y: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        objective(linear(logits_of(4, 3)), y)


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="labels go up to 3, but the model has 3 classes"):
        untargeted(linear(logits_of(4, 3)), torch.tensor([0, 3]))(logits_of(2, 4))
