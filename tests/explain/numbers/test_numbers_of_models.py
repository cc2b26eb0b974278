"""Curvature, distance to the boundary and linearity: closed forms on linear and quadratic models at several sizes."""

from __future__ import annotations

import math

import pytest
import torch
from tests.explain.numbers.numbers_models import Quadratic, linear
from torch import Tensor, nn

from robustlab.core import L1, L2, Linf, Norm, margin
from robustlab.explain import measure
from robustlab.explain.numbers import BoundaryDistance, Curvature, LinearityError


def zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)


def rotated(values: Tensor) -> Tensor:
    """A symmetric matrix with these eigenvalues."""
    turn = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64)).Q
    matrix: Tensor = turn @ torch.diag(values) @ turn.T
    return matrix


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("values", [[2.0], [-3.0, 1.0], [5.0, -5.0, 1.0], [0.5, 1, -4, 2, 1, 0, 0, 0, 0, 0, 0, 1]])
def test_curvature_is_the_largest_eigenvalue_of_a_quadratic_score(values: list[float], exact: bool) -> None:
    torch.manual_seed(0)
    matrix = rotated(torch.tensor(values, dtype=torch.float64))
    model, x = Quadratic(matrix, torch.randn(len(values)).double()), torch.rand(3, len(values), dtype=torch.float64)
    found = measure("gradient", model, x, zeros(3), {"it": Curvature(40, exact=exact, score=margin)})["it"].values
    assert torch.allclose(found, torch.full((3,), max(map(abs, values))).double(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (3, 5, 4)])
def test_curvature_of_the_loss_of_a_linear_model_is_that_of_the_softmax(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    weights = torch.randn(3, *shape, dtype=torch.float64)
    x, y = torch.rand(3, *shape, dtype=torch.float64), torch.tensor([0, 2, 1])
    model, w = linear(*weights), weights.flatten(1)
    p = model(x).softmax(1)
    hessians = [w.T @ (torch.diag(row) - row[:, None] * row) @ w for row in p]
    expected = torch.stack([torch.linalg.eigvalsh(one)[-1] for one in hessians])
    exact = measure("gradient", model, x, y, {"it": Curvature(50, exact=True)})["it"].values
    near = measure("gradient", model, x, y, {"it": Curvature(50, 1e-4)})["it"].values
    assert torch.allclose(exact, expected, rtol=1e-4)
    assert torch.allclose(near, expected, rtol=1e-4)


def test_second_derivatives_are_blind_to_kinks_and_differences_are_not() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2, bias=False)).double().eval()
    model.load_state_dict(
        {"0.weight": torch.eye(2), "0.bias": torch.full((2,), -0.5), "2.weight": torch.tensor([[4.0, 0], [0, 0]])}
    )
    x = torch.tensor([[0.51, 0.2]], dtype=torch.float64)
    blind = measure("gradient", model, x, zeros(1), {"it": Curvature(exact=True, score=margin)})["it"]
    sees = measure("gradient", model, x, zeros(1), {"it": Curvature(length=0.1, score=margin)})["it"]
    assert blind.mean == 0
    assert sees.mean == pytest.approx(4 / 0.2)  # the slope of 4 ends between x - h v and x + h v


def test_attention_has_second_derivatives() -> None:
    class Attention(nn.Module):
        """One head over the rows of an image."""

        def forward(self, x: Tensor) -> Tensor:
            rows = x.flatten(1, 2)
            mixed: Tensor = nn.functional.scaled_dot_product_attention(rows, rows, rows)
            return mixed.square().mean(1)

    x = torch.rand(2, 1, 4, 3, dtype=torch.float64)
    exact = measure("gradient", Attention().eval(), x, zeros(2), {"it": Curvature(30, exact=True)})["it"].values
    near = measure("gradient", Attention().eval(), x, zeros(2), {"it": Curvature(30, 1e-3)})["it"].values
    assert torch.allclose(exact, near, rtol=1e-3)


@pytest.mark.parametrize(("norm", "dual"), [(L2(), 2.0), (Linf(), 1.0), (L1(), math.inf)])
@pytest.mark.parametrize("shape", [(20,), (1, 2, 2), (3, 8, 8)])
def test_the_boundary_of_a_linear_model_is_where_it_is(norm: Norm, dual: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    weights = torch.randn(4, *shape, dtype=torch.float64)
    x = 0.5 + 0.01 * torch.randn(6, *shape, dtype=torch.float64)  # the boundary is nearer than the bounds
    weights -= (weights * 0.5).flatten(1).sum(1).reshape(4, *[1] * len(shape)) / (0.5 * math.prod(shape))
    model = linear(*weights)
    y = torch.cat([model(x)[:3].argmax(1), model(x)[3:].argmin(1)])
    number = BoundaryDistance(targets=3, norm=norm)
    found = measure("gradient", model, x, y, {"it": number})["it"].values
    for i in range(3):
        gaps = [
            (model(x[i : i + 1])[0, y[i]] - model(x[i : i + 1])[0, k])
            / (weights[y[i]] - weights[k]).flatten().norm(dual)
            for k in range(4)
            if k != y[i]
        ]
        assert float(found[i]) == pytest.approx(float(min(gaps)), rel=1e-3)
    assert found[3:].tolist() == [0, 0, 0]


def test_no_boundary_is_no_number_and_inputs_out_of_bounds_are_refused() -> None:
    model, x = linear(torch.ones(1, 2, 2), torch.zeros(1, 2, 2)), torch.full((1, 1, 2, 2), 0.5)
    bounds = {"it": BoundaryDistance(bounds=(0.25, 1.0))}
    assert measure("gradient", model, x, zeros(1), bounds)["it"].undefined == 1
    for name, number in (("BoundaryDistance", BoundaryDistance()), ("LinearityError", LinearityError())):
        with pytest.raises(ValueError, match=rf"{name} searches valid inputs, and these lie .*: give {name}\(bounds="):
            measure("gradient", model, x + 1, zeros(1), {"it": number})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 3, 48])
def test_the_linearity_error_of_a_quadratic_score(size: int, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    values = torch.rand(size, dtype=dtype) + 0.5
    model, x = Quadratic(torch.diag(-values), torch.randn(size, dtype=dtype)), torch.full((2, size), 0.5, dtype=dtype)
    cube = {"it": LinearityError(0.1, 5, score=margin)}
    found = measure("gradient", model, x, zeros(2), cube)["it"].values
    assert found.tolist() == pytest.approx([0.005 * float(values.sum())] * 2, rel=1e-4)
    ball = {"it": LinearityError(0.1, 20, norm=L2(), score=margin)}
    found = measure("gradient", model, x, zeros(2), ball)["it"].values
    most = 0.005 * float(values.max())
    assert 0.7 * most < float(found.min()) <= float(found.max()) <= most * (1 + 1e-4)


def test_the_linearity_error_stays_within_bounds_and_is_zero_for_a_linear_score() -> None:
    matrix = torch.tensor([[2.0]], dtype=torch.float64)
    x = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    model = Quadratic(matrix, torch.tensor([1.0], dtype=torch.float64))
    found = measure("gradient", model, x, zeros(2), {"it": LinearityError(0.1, bounds=(0, 1), score=margin)})["it"]
    assert found.values.tolist() == pytest.approx([0.01, 0.01])  # towards 0.9, and towards 0.1
    flat = linear(*torch.randn(2, 3, 4, 4).double())
    images = torch.rand(2, 3, 4, 4).double()
    assert measure("gradient", flat, images, zeros(2), {"it": LinearityError(score=margin)})["it"].mean < 1e-12


def test_settings_out_of_range_are_refused() -> None:
    for kind in (Curvature, LinearityError, BoundaryDistance):
        with pytest.raises(ValueError, match="steps must be a whole number >= 1, got 0"):
            kind(steps=0)
    with pytest.raises(ValueError, match="length must be a finite number > 0, got nan"):
        Curvature(length=math.nan)
    with pytest.raises(ValueError, match="eps must be a finite number >= 0, got -1"):
        LinearityError(-1.0)
