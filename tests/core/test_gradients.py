"""Gradients as autograd may hand them over: expanded, sparse, shared, missing, not finite, too long to be squared."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robustlab.core import Objective, margin, untargeted
from robustlab.core.gradients import gradient_by, own_gradient

X = torch.tensor([[1.0, 2.0, 4.0], [0.5, 0.0, 3.0]])
DTYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)

GIVEN: dict[str, Tensor] = {
    "expanded": torch.ones(1, 1).expand(2, 3),
    "a row for all": torch.tensor([[1.0, 2.0, 3.0]]).expand(2, 3),
    "sparse": torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]).to_sparse(),
    "transposed": torch.arange(6.0).reshape(3, 2).T,
    "wider": torch.arange(6.0, dtype=torch.float64).reshape(2, 3),
    "zero": -torch.zeros(2, 3),
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_gradient_of_any_kind_becomes_a_tensor_of_its_own(name: str) -> None:
    given = GIVEN[name]
    expected = given.to_dense().to(torch.float32).clone()
    found = own_gradient(given, X)
    assert torch.equal(found, expected)
    assert found.dtype == X.dtype
    found.fill_(7.0)
    assert torch.equal(given.to_dense().to(torch.float32), expected)


def test_no_gradient_is_zero() -> None:
    assert torch.equal(own_gradient(None, X), torch.zeros(2, 3))
    assert torch.equal(gradient_by(X.requires_grad_(), torch.zeros(())), torch.zeros(2, 3))
    X.requires_grad_(False)


@DTYPES
def test_infinite_gradients_become_finite_and_keep_their_direction(dtype: torch.dtype) -> None:
    given = torch.tensor([[torch.inf, -torch.inf, 1.0], [torch.nan, -2.0, 0.0]]).to(dtype)
    found = own_gradient(given, X.to(dtype))
    assert found.isfinite().all()
    assert found[0].sign().tolist()[:2] == [1, -1]
    assert found[0, 0] == -found[0, 1] > 1e4
    assert found[1].tolist() == [0, -2, 0]


def test_gradients_too_long_to_be_squared_are_shortened_in_their_direction() -> None:
    found = own_gradient(torch.tensor([[3e30, -4e30, 0.0], [3e5, 0.0, 1e-9]]), X)
    assert torch.allclose(found[0] / found[0, 0], torch.tensor([1.0, -4 / 3, 0.0]))
    assert found.square().sum().isfinite()
    assert found[1].tolist() == torch.tensor([3e5, 0.0, 1e-9]).tolist()


def looked_up(x: Tensor) -> Tensor:
    """Logits whose gradient is sparse."""
    return torch.nn.functional.embedding(torch.arange(len(x)), x, sparse=True)


def test_objectives_give_gradients_of_every_kind_that_may_be_written_over() -> None:
    y = torch.tensor([0, 1])
    for model, slope in (
        (looked_up, [[-1.0, 0.0, 1.0], [0.0, -1.0, 1.0]]),
        (lambda x: torch.stack([x.sum(1), -x.sum(1)], 1), [[-2.0] * 3, [2.0] * 3]),
        (lambda x: x, [[-1.0, 0.0, 1.0], [0.0, -1.0, 1.0]]),
        (lambda x: x.sum(1, keepdim=True).expand(-1, 2), [[0.0] * 3] * 2),
    ):
        objective: Objective = untargeted(model, y, margin)
        grad = objective.gradient(X, stop="never")[2]
        assert grad.tolist() == slope
        grad.fill_(5.0)
        assert objective.gradient(X, stop="never")[2].tolist() == slope
